"""Write receipts of deliveries into the records of their batches.

They come from two queues: that of receipts, and that of events which were given up, for nobody could make their tries.
The batch of such an event shows that it will not come. What nobody can read stays where it is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.announcements import Announcement, Receipt
from common.errors import MessageError, MessageUnreadable, StoreUnavailable


class Receiver(Protocol):
    """Keep receipts; the store does."""

    async def receive(self, receipt: Receipt) -> None:
        """Note how far a delivery has got, unless more is known; may raise StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Filing:
    """Say what became of one message: it is filed, or comes back because of a problem."""

    message_id: str
    problem: str | None = None
    given_up: str | None = None
    """The id of an event that its queue has given up."""


async def file_receipts(records: Sequence[Mapping[str, Any]], store: Receiver) -> list[Filing]:
    """See to every entry of an SQS event's `Records`."""
    return list(await asyncio.gather(*(_file(record["messageId"], record["body"], store) for record in records)))


async def _file(message_id: str, body: str, store: Receiver) -> Filing:
    try:
        receipt, given_up = _receipt_in(body)
        await store.receive(receipt)
    except (MessageError, StoreUnavailable) as error:
        return Filing(message_id, problem=type(error).__name__)
    return Filing(message_id, given_up=given_up)


def _receipt_in(body: str) -> tuple[Receipt, str | None]:
    """Read a receipt; of an event make the one that it was given up, beside the event's id."""
    try:
        return Receipt.decode(body), None
    except MessageUnreadable:
        event = Announcement.decode(body)
        return event.given_up(), event.webhook_id
