"""Define a task whose lease a worker holds, and the transitions of its record."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.domain.message import TaskMessage
from common.domain.spending import Charge
from common.domain.task import Answer, FailureCode, TaskRef, WaitingOn
from common.domain.transitions import NO_REPORT, CallReport, Claim, EndOutcome, Lease, Release, ReleaseOutcome
from common.worker.bill import Bill
from common.worker.deadlines import InvocationDeadlines
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.permit import Permit


class TaskTransitions(Protocol):
    """Hold the records: every method is one transition, safe to repeat, and may raise StoreUnavailable."""

    async def claim(self, lease: Lease) -> Claim:
        """Take the lease."""

    async def release(self, lease: Lease, release: Release) -> ReleaseOutcome:
        """Return the task to the queue, or fail it where that was its last attempt."""

    async def mark_waiting(self, refs: Sequence[TaskRef], waiting_on: WaitingOn) -> None:
        """Note what tasks wait for that are queued."""

    async def complete(self, lease: Lease, answer: Answer, charge: Charge | None = None) -> EndOutcome:
        """Record the answer, and book the charge if it is recorded."""

    async def charge(self, lease: Lease, charge: Charge) -> None:
        """Book what an attempt has cost that brought no answer."""

    async def fail(
        self,
        lease: Lease,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> EndOutcome:
        """Record that there will be none."""

    async def save_request(self, ref: TaskRef, request: str) -> None:
        """Leave its request with a task that has failed."""


@dataclass(frozen=True, slots=True)
class LeasedTask:
    """Hold what an attempt knows once it has the lease."""

    delivery: ReceivedMessage
    message: TaskMessage
    lease: Lease
    claim: Claim
    deadlines: InvocationDeadlines
    permit: Permit
    free_slot: Callable[[], Awaitable[None]]
    """Make room for the next call; what is left then is to record."""
    bill: Bill = field(default_factory=Bill)

    def outcome(self, kind: OutcomeKind, visible_in: float | None, code: FailureCode | None = None) -> DeliveryOutcome:
        """Describe how it ends."""
        return DeliveryOutcome(kind, visible_in, self.lease.task.ref.task_id, self.claim.attempt, code)
