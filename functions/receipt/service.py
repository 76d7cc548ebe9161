"""Write receipts of deliveries into the records of their batches.

They come from two queues: that of receipts, and that of events which were given up, for nobody could make their tries.
The batch of such an event shows that it will not come. What nobody can read stays where it is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.domain.errors import MessageError, MessageUnreadable, StoreUnavailable
from common.webhooks.events import DeliveryReceipt, WebhookNotification


class ReceiptStore(Protocol):
    """Keep receipts; the store does."""

    async def record_receipt(self, receipt: DeliveryReceipt) -> None:
        """Note how far a delivery has got, unless more is known; may raise StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class ReceiptResult:
    """Say what became of one message: it is filed, or comes back because of a problem."""

    message_id: str
    problem: str | None = None
    given_up: str | None = None
    """The id of an event that its queue has given up."""


async def record_receipts(records: Sequence[Mapping[str, Any]], store: ReceiptStore) -> list[ReceiptResult]:
    """See to every entry of an SQS event's `Records`."""
    return list(await asyncio.gather(*(_file(record["messageId"], record["body"], store) for record in records)))


async def _file(message_id: str, body: str, store: ReceiptStore) -> ReceiptResult:
    try:
        receipt, given_up = _receipt_in(body)
        await store.record_receipt(receipt)
    except (MessageError, StoreUnavailable) as error:
        return ReceiptResult(message_id, problem=type(error).__name__)
    return ReceiptResult(message_id, given_up=given_up)


def _receipt_in(body: str) -> tuple[DeliveryReceipt, str | None]:
    """Read a receipt; of an event make the one that it was given up, beside the event's id."""
    try:
        return DeliveryReceipt.decode(body), None
    except MessageUnreadable:
        event = WebhookNotification.decode(body)
        return event.undeliverable_receipt(), event.webhook_id
