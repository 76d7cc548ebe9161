"""Bring events from the record to their queue, and receipts of their deliveries back into it."""

from collections.abc import Sequence
from typing import Any, Protocol

from common.domain.errors import EventUnsent, QueueUnavailable
from common.store import codec, keys
from common.store.client import Client, redis_errors
from common.store.scripts import ScriptCall, Scripts
from common.webhooks.events import DeliveryReceipt, WebhookNotification


class EventPublisher(Protocol):
    """Put events on the way to those who asked for them."""

    async def publish(self, announcement: WebhookNotification) -> None:
        """Send one, or raise QueueUnavailable; it may have been sent even so."""


class WebhookDeliveryStore:
    """Every method raises StoreUnavailable where Redis does not answer, and may then be repeated."""

    def __init__(self, client: Client, scripts: Scripts, announcer: EventPublisher | None = None) -> None:
        """Take an open client, which the caller closes, and who announces; without, events stay due."""
        self._client = client
        self._scripts = scripts
        self._announcer = announcer

    async def publish(self, tenant: str, batch_id: str, event: Sequence[Any] | None = None) -> None:
        """Publish the event that a transition reported as due, if any, and record that.

        A caller that dies in between leaves it due: it is sent twice then, and never lost.
        """
        if event is None or self._announcer is None:
            return
        try:
            await self._announcer.publish(codec.read_notification(tenant, batch_id, event))
        except QueueUnavailable as error:
            raise EventUnsent("an event could not be put on its queue") from error
        with redis_errors():
            await self._scripts.run(self._client, ScriptCall("mark_announced", [keys.batch_key(tenant, batch_id)]))

    async def record_receipt(self, receipt: DeliveryReceipt) -> None:
        """Note how far the delivery of a batch's event has got, unless more is known; never make a batch of it."""
        batch = keys.batch_key(receipt.tenant, receipt.batch_id)
        with redis_errors():
            await self._scripts.run(
                self._client,
                ScriptCall("record_receipt", [batch], {"delivery": codec.write_delivery(receipt.delivery)}),
            )
