"""Write receipts of deliveries into the records of their batches."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from common.announcements import Receipt
from common.errors import MessageError, StoreUnavailable


class Receiver(Protocol):
    """Keep receipts; the store does."""

    async def receive(self, receipt: Receipt) -> None:
        """Note how far a delivery has got, unless more is known; may raise StoreUnavailable."""


async def file_receipts(records: Sequence[Mapping[str, Any]], store: Receiver) -> dict[str, str]:
    """See to every entry of an SQS event's `Records`; return the ids of those that have to come back, and why."""
    problems = await asyncio.gather(*(_file(record["body"], store) for record in records))
    return {
        record["messageId"]: problem for record, problem in zip(records, problems, strict=True) if problem is not None
    }


async def _file(body: str, store: Receiver) -> str | None:
    try:
        await store.receive(Receipt.decode(body))
    except (MessageError, StoreUnavailable) as error:
        return type(error).__name__
    return None
