"""Let a call in while its tenant's budgets and the queue have room for it."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from common.budgets import BudgetKind, Budgets, Verdict
from common.errors import CallerError, SluiceError, StoreUnavailable
from common.tasks import NewBatch, TaskRef


class BudgetCounts(Protocol):
    """Count tasks. Each method raises StoreUnavailable where Redis does not answer."""

    async def admit(self, tenant: str, tasks: int, budgets: Budgets, nonce: str, now_ms: int) -> Verdict:
        """Count tasks if the budgets allow it."""

    async def give_back(self, tenant: str, tasks: int, nonce: str, now_ms: int) -> None:
        """Take a count back."""


class Cap(Protocol):
    """Limit the tasks in a queue. Each method may raise QueueUnavailable or StoreUnavailable."""

    async def check(self, size: int) -> None:
        """Check that the queue has room for a call; raise QueueFull or RequestTooLarge."""

    async def reserve(self, tenant: str, batch_id: str, size: int) -> None:
        """Reserve places of the tenant's share for a batch; raise QueueShareFull."""

    async def confirm(self, tenant: str, batch_id: str, size: int, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent."""

    async def release(self, refs: Sequence[TaskRef]) -> None:
        """Give back the places of a batch that could not be sent."""


class TooMany(CallerError):
    """Refuse a call for now: it may be accepted after `retry_after` seconds."""

    status = 429

    def __init__(self, detail: str, retry_after: int, *, members: dict[str, str] | None = None) -> None:
        """Take the rule, and after how many seconds it may let the call through."""
        super().__init__(detail, members=members)
        self.retry_after = retry_after


class BudgetExhausted(TooMany):
    """A budget of the tenant's day has not enough left."""

    code = "budget_exhausted"

    def __init__(self, kind: BudgetKind, retry_after: int) -> None:
        """Take the budget, and how long the day still is."""
        detail = f"the budget of {kind} has not enough left for this call; the next day begins at midnight UTC"
        super().__init__(detail, retry_after, members={"budget": kind})


class QueueFull(TooMany):
    """The queue is as deep as it may be."""

    code = "queue_full"


class QueueShareFull(TooMany):
    """The tenant's tasks take up its share of the queue."""

    code = "queue_share_full"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Remember what was counted for a call."""

    tenant: str
    tasks: int
    nonce: str
    now_ms: int


class Gate:
    """Admit calls. Without budgets and without a cap nobody is asked."""

    def __init__(self, counts: BudgetCounts, cap: Cap | None, *, now_ms: Callable[[], int]) -> None:
        """Take who counts, what limits the queue (None for no cap), and a clock in milliseconds since 1970."""
        self._counts = counts
        self._cap = cap
        self._now_ms = now_ms

    def asks(self, budgets: Budgets | None) -> bool:
        """Tell whether a call of a caller with these budgets can be refused."""
        return self._cap is not None or budgets is not None

    async def admit(self, batch: NewBatch, budgets: Budgets | None, request: str | None = None) -> Ticket | None:
        """Count the tasks of a call that may come in; None where no budget had to be counted.

        Calls of the same `request` are counted once, whichever comes first.

        Raises:
            BudgetExhausted, QueueFull, QueueShareFull, RequestTooLarge: it may not, and nothing was counted.
            StoreUnavailable, QueueUnavailable: nobody can say.

        """
        if self._cap:
            await self._cap.check(batch.size)
        ticket = None if budgets is None else await self._count(batch.tenant, batch.size, budgets, request)
        if self._cap:
            try:
                await self._cap.reserve(batch.tenant, batch.batch_id, batch.size)
            except SluiceError:
                if ticket is not None:
                    with suppress(StoreUnavailable):
                        await self.give_back(ticket)
                raise
        return ticket

    async def _count(self, tenant: str, tasks: int, budgets: Budgets, request: str | None) -> Ticket:
        nonce = secrets.token_hex(16)
        ticket = Ticket(tenant, tasks, f"{request}:{nonce}" if request else nonce, self._now_ms())
        verdict = await self._counts.admit(tenant, tasks, budgets, ticket.nonce, ticket.now_ms)
        if verdict.exhausted is not None:
            raise BudgetExhausted(verdict.exhausted, verdict.seconds_left)
        return ticket

    async def give_back(self, ticket: Ticket) -> None:
        """Take back what was counted for a call that is not accepted; may raise StoreUnavailable."""
        await self._counts.give_back(ticket.tenant, ticket.tasks, ticket.nonce, ticket.now_ms)

    async def confirm(self, batch: NewBatch, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent in its queue; may raise StoreUnavailable."""
        if self._cap:
            await self._cap.confirm(batch.tenant, batch.batch_id, batch.size, deadline_ms)

    async def release(self, batch: NewBatch) -> None:
        """Give back the places of a batch that could not be sent; may raise StoreUnavailable."""
        if self._cap:
            await self._cap.release([TaskRef(batch.tenant, batch.batch_id, index) for index in range(batch.size)])
