"""Write how an attempt ended, again and again while there is time, and return what becomes of its message."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from common.api.pagination import is_readable
from common.domain.errors import EventUnsent, StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.spending import NO_CHARGE
from common.domain.task import Answer, FailureCode
from common.domain.transitions import NO_REPORT, CallReport, EndOutcome, Release, ReleaseOutcome
from common.worker.backoff import LOST_SECONDS, Backoff
from common.worker.deadlines import InvocationDeadlines
from common.worker.leased_task import LeasedTask, TaskTransitions
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage


@dataclass(frozen=True, slots=True)
class TransitionWriter:
    """Write the transitions of leased tasks; each method raises StoreUnavailable when the time for writes is over."""

    claims: TaskTransitions
    backoff: Backoff

    async def complete(self, leased: LeasedTask, answer: Answer) -> DeliveryOutcome:
        """Record the answer, or fail the task where no response could return it."""
        if not is_readable(leased.lease.task.kind, answer):
            # It is paid for, and another would be as well: the task is not tried again.
            await self.book(leased)
            report = CallReport(answer.usage, answer.cost_nanos)
            return await self.fail(leased, FailureCode.ANSWER_TOO_LARGE, report=report)
        outcome = await self._write(leased, lambda: self.claims.complete(leased.lease, answer, leased.bill.charge))
        # Never LOST: an answer needs no lease, the first one wins.
        if outcome is EndOutcome.ENDED:
            return leased.outcome(OutcomeKind.COMPLETED, None)
        await self.book(leased)
        return leased.outcome(OutcomeKind.DUPLICATE, None)

    async def book(self, leased: LeasedTask) -> None:
        """Book what the attempt has cost so far, which no answer will; before its end, so that who sees that sees both.

        A worker that dies has booked nothing of its running calls.
        """
        if leased.bill.charge != NO_CHARGE:
            await self._write(leased, lambda: self.claims.charge(leased.lease, leased.bill.charge))
            leased.bill.settle()

    async def release(self, leased: LeasedTask, back: DeliveryOutcome, release: Release) -> DeliveryOutcome:
        """Return the task to the queue; the outcome is `back` unless that was its last attempt or the lease is lost."""
        outcome = await self._write(leased, lambda: self.claims.release(leased.lease, release))
        match outcome:
            case ReleaseOutcome.RELEASED:
                return back
            case ReleaseOutcome.EXHAUSTED:
                return await self._finish_failed(leased, FailureCode.ATTEMPTS_EXHAUSTED)
            case ReleaseOutcome.LOST:
                return leased.outcome(OutcomeKind.LOST, LOST_SECONDS)

    async def fail(
        self,
        leased: LeasedTask,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> DeliveryOutcome:
        """Fail the task for good, and keep its request for a retry."""
        outcome = await self._write(leased, lambda: self.claims.fail(leased.lease, code, last_code, error_type, report))
        match outcome:
            case EndOutcome.ENDED:
                return await self._finish_failed(leased, code)
            case EndOutcome.ALREADY:
                return leased.outcome(OutcomeKind.DUPLICATE, None)
            case _:
                return leased.outcome(OutcomeKind.LOST, LOST_SECONDS)

    async def _finish_failed(self, leased: LeasedTask, code: FailureCode) -> DeliveryOutcome:
        return await self.save_request(
            leased.delivery, leased.message, leased.deadlines, leased.outcome(OutcomeKind.FAILED, None, code)
        )

    async def save_request(
        self, delivery: ReceivedMessage, message: TaskMessage, deadlines: InvocationDeadlines, outcome: DeliveryOutcome
    ) -> DeliveryOutcome:
        """Leave its request with a task that may have failed, or have the message come back until that is done."""
        try:
            async with asyncio.timeout_at(deadlines.writes_end):
                await self.claims.save_request(message.task.ref, delivery.body)
        except (StoreUnavailable, TimeoutError):
            return replace(outcome, retry_in_seconds=self.backoff.after_receive(delivery.receives))
        return outcome

    async def _write[Outcome](self, leased: LeasedTask, write: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Write until the store takes it or the time for writes is over; raise StoreUnavailable then."""
        while True:
            try:
                async with asyncio.timeout_at(leased.deadlines.writes_end):
                    return await write()
            except EventUnsent:
                raise  # it is written; the event is for the next delivery, and the slot for the next task
            except (StoreUnavailable, TimeoutError):
                pause = self.backoff.before_rewrite()
                if _now() + pause >= leased.deadlines.writes_end:
                    raise StoreUnavailable from None
            await asyncio.sleep(pause)


def _now() -> float:
    return asyncio.get_running_loop().time()
