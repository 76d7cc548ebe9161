"""Admit a call if the tenant's budgets and the queue have room for it."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from common.domain.budgets import BudgetCheck, BudgetKind, Budgets
from common.domain.errors import CallerError, SluiceError, StoreUnavailable
from common.domain.task import NewBatch, TaskRef


class BudgetCounter(Protocol):
    """Count tasks. Each method raises StoreUnavailable where Redis does not answer."""

    async def admit(self, tenant: str, tasks: int, budgets: Budgets, nonce: str, now_ms: int) -> BudgetCheck:
        """Count tasks if the budgets allow it."""

    async def return_count(self, tenant: str, tasks: int, nonce: str, now_ms: int) -> None:
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


class AdmissionRefused(CallerError):
    """Refuse a call for now; `retry_after` is in seconds."""

    status = 429

    def __init__(self, detail: str, retry_after: int, *, members: dict[str, str] | None = None) -> None:
        """Create the error with the rule, and the seconds after which the call may be accepted."""
        super().__init__(detail, members=members)
        self.retry_after = retry_after


class BudgetExhausted(AdmissionRefused):
    """A daily budget of the tenant is exceeded."""

    code = "budget_exhausted"

    def __init__(self, kind: BudgetKind, retry_after: int) -> None:
        """Create the error with the budget, and the seconds until it resets."""
        detail = f"this call exceeds the daily {kind} budget; it resets at 00:00 UTC"
        super().__init__(detail, retry_after, members={"budget": kind})


class QueueFull(AdmissionRefused):
    """The queue is at its cap."""

    code = "queue_full"


class QueueShareFull(AdmissionRefused):
    """The tenant's share of the queue is full."""

    code = "queue_share_full"


@dataclass(frozen=True, slots=True)
class Reservation:
    """Hold what was counted for a call, so that it can be returned."""

    tenant: str
    tasks: int
    nonce: str
    now_ms: int


class Admission:
    """Admit calls: within the budgets of their tenant, and the cap of the queue."""

    def __init__(self, counts: BudgetCounter, cap: Cap | None, *, now_ms: Callable[[], int]) -> None:
        """Create the limiter.

        Args:
            counts: the counters of the budgets.
            cap: the cap of the queue, None for no cap.
            now_ms: a clock in milliseconds since 1970.

        """
        self._counts = counts
        self._cap = cap
        self._now_ms = now_ms

    def asks(self, budgets: Budgets | None) -> bool:
        """Return whether a call of a caller with these budgets can be refused."""
        return self._cap is not None or budgets is not None

    async def admit(self, batch: NewBatch, budgets: Budgets | None, request: str | None = None) -> Reservation | None:
        """Count the tasks of an admitted call; None if it has no budget.

        Calls of the same `request` are counted once.

        Raises:
            BudgetExhausted, QueueFull, QueueShareFull, RequestTooLarge: the call is refused, and nothing was counted.
            StoreUnavailable, QueueUnavailable: a dependency does not answer.

        """
        if self._cap:
            await self._cap.check(batch.size)
        reservation = None if budgets is None else await self._count(batch.tenant, batch.size, budgets, request)
        if self._cap:
            try:
                await self._cap.reserve(batch.tenant, batch.batch_id, batch.size)
            except SluiceError:
                if reservation is not None:
                    with suppress(StoreUnavailable):
                        await self.return_budget(reservation)
                raise
        return reservation

    async def _count(self, tenant: str, tasks: int, budgets: Budgets, request: str | None) -> Reservation:
        nonce = secrets.token_hex(16)
        reservation = Reservation(tenant, tasks, f"{request}:{nonce}" if request else nonce, self._now_ms())
        check = await self._counts.admit(tenant, tasks, budgets, reservation.nonce, reservation.now_ms)
        if check.exhausted is not None:
            raise BudgetExhausted(check.exhausted, check.seconds_left)
        return reservation

    async def return_budget(self, reservation: Reservation) -> None:
        """Return what was counted for a call that is not accepted; may raise StoreUnavailable."""
        await self._counts.return_count(reservation.tenant, reservation.tasks, reservation.nonce, reservation.now_ms)

    async def confirm(self, batch: NewBatch, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent in its queue; may raise StoreUnavailable."""
        if self._cap:
            await self._cap.confirm(batch.tenant, batch.batch_id, batch.size, deadline_ms)

    async def release(self, batch: NewBatch) -> None:
        """Give back the places of a batch that could not be sent; may raise StoreUnavailable."""
        if self._cap:
            await self._cap.release([TaskRef(batch.tenant, batch.batch_id, index) for index in range(batch.size)])
