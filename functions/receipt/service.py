"""Record receipts of deliveries in their batches.

The messages come from two queues: the queue of receipts, and the dead-letter queue of events that could not be tried.
The batch of such an event becomes undeliverable. Unreadable messages stay in their queue.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.domain.errors import MessageError, MessageUnreadable, StoreUnavailable
from common.webhooks.events import DeliveryReceipt, WebhookNotification


class ReceiptStore(Protocol):
    """Store of delivery states."""

    async def record_receipt(self, receipt: DeliveryReceipt) -> None:
        """Record the state of a delivery unless a later one is recorded; may raise StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class ReceiptResult:
    """The outcome of one message: recorded, or redelivered because of a problem."""

    message_id: str
    problem: str | None = None
    given_up: str | None = None
    """The id of an event that was moved to the dead-letter queue."""


async def record_receipts(records: Sequence[Mapping[str, Any]], store: ReceiptStore) -> list[ReceiptResult]:
    """Record every entry of an SQS event's `Records`."""
    return list(await asyncio.gather(*(_record(record["messageId"], record["body"], store) for record in records)))


async def _record(message_id: str, body: str, store: ReceiptStore) -> ReceiptResult:
    try:
        receipt, given_up = _receipt_in(body)
        await store.record_receipt(receipt)
    except (MessageError, StoreUnavailable) as error:
        return ReceiptResult(message_id, problem=type(error).__name__)
    return ReceiptResult(message_id, given_up=given_up)


def _receipt_in(body: str) -> tuple[DeliveryReceipt, str | None]:
    """Decode a receipt; for an event, return its undeliverable receipt and its id."""
    try:
        return DeliveryReceipt.decode(body), None
    except MessageUnreadable:
        event = WebhookNotification.decode(body)
        return event.undeliverable_receipt(), event.webhook_id
