"""Test the receipt function's call as its own cache user."""

from dataclasses import replace

import pytest

from common.domain.task import NewBatch, TaskSpec, new_batch_id
from common.store import TaskStore, connect
from common.store.scripts import Scripts, read_sources
from common.store.webhook_deliveries import WebhookDeliveryStore
from common.webhooks.events import DeliveryReceipt
from common.webhooks.model import Webhook, WebhookDelivery, WebhookDeliveryStatus
from tests.integration.access.users import restricted_valkey, user_of


@pytest.mark.parametrize("cluster", [False, True])
async def test_a_receipt_is_filed_with_no_more_rights_than_it_takes(*, cluster: bool) -> None:
    delivered = WebhookDelivery(WebhookDeliveryStatus.DELIVERED, 1, 204, None, None, 1)
    batch = NewBatch(
        "acme",
        new_batch_id(1, bytes(16)),
        (TaskSpec("m"),),
        60_000,
        3_600_000,
        webhook=Webhook("https://hooks.example"),
    )
    with restricted_valkey(cluster=cluster) as restricted:
        admin = connect(restricted.settings)
        limited = connect(replace(restricted.settings, username=user_of("receipt")))
        try:
            await TaskStore(admin).create(batch)

            with restricted.denying_nothing():
                await WebhookDeliveryStore(limited, Scripts(read_sources())).record_receipt(
                    DeliveryReceipt("acme", batch.batch_id, delivered)
                )

            record = await TaskStore(admin).read_batch("acme", batch.batch_id)
            assert record is not None
            assert record.delivery == delivered
        finally:
            await limited.aclose()
            await admin.aclose()
