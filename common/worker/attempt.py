"""Work on one delivery: claim the task, ask the model, record what came of it. call.py has the asking."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from common.api.pagination import is_readable
from common.domain.errors import (
    CallHeld,
    EventUnsent,
    ModelBusy,
    ModelCrashed,
    ModelFailed,
    ModelRefused,
    StoreUnavailable,
    Unavailable,
)
from common.domain.message import TaskMessage
from common.domain.rate_limits import RefusalCause
from common.domain.spending import NO_CHARGE, Charge
from common.domain.task import Answer, FailureCode, TaskRef, WaitingOn
from common.domain.transitions import (
    NO_REPORT,
    CallReport,
    Claim,
    ClaimOutcome,
    EndOutcome,
    Lease,
    Release,
    ReleaseOutcome,
)
from common.worker.backoff import LOST_SECONDS, Backoff
from common.worker.bill import Bill
from common.worker.concurrency import OVERLOAD_CODES, Origin
from common.worker.deadlines import InvocationDeadlines
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.model_call import CallInterrupted, InterruptReason, ModelCaller
from common.worker.permit import Permit
from common.worker.rate_limiter import StartLimiter
from common.worker.refusals import Refusal

PAUSE_SECONDS: Final = 2.0
"""For telling all workers of a rate limit: a store that hangs must leave time for the release that comes after."""

ACCEPT_SECONDS: Final = 1.0
"""How long a task waits here, in its slot, for its call to be accepted. Submit accepts right after its last message, so
the first messages of a large batch are some tenths of a second early. What takes longer goes back to the queue."""

FIRST_ACCEPT_PAUSE_SECONDS: Final = 0.01
"""Between the first two claims of such a task; it doubles from then on."""


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


@dataclass(frozen=True, slots=True)
class AttemptRunner:
    """Make attempts; the collaborators live as long as the environment, so nothing here belongs to one task."""

    claims: TaskTransitions
    calls: ModelCaller
    flow: StartLimiter
    backoff: Backoff
    max_attempts: int

    async def run(
        self,
        delivery: ReceivedMessage,
        message: TaskMessage,
        deadlines: InvocationDeadlines,
        permit: Permit,
        leave: Callable[[], Awaitable[None]],
    ) -> DeliveryOutcome:
        """Work on one delivery to its end; every wait in here ends within the deadlines.

        `permit` is told what the call has used; who gave it settles it. `leave` is called once the answer is there, so
        that the next call begins while this one's is recorded. It is not called otherwise: what failed may have to slow
        the others down first.
        """
        # Random for each claim: the fence that keeps a worker which lost its lease from writing.
        lease = Lease(message.task, secrets.token_hex(16), deadlines.lease_ms, self.max_attempts)
        task_id = message.task.ref.task_id
        try:
            async with asyncio.timeout_at(deadlines.stop_at):
                claim = await self._claim(lease)
        except (StoreUnavailable, TimeoutError):
            await self._unclaim(lease, deadlines)
            return DeliveryOutcome(OutcomeKind.UNAVAILABLE, self.backoff.after_receive(delivery.receives), task_id)
        if claim.outcome is ClaimOutcome.BUSY:
            return DeliveryOutcome(OutcomeKind.BUSY, claim.wait_ms / 1000, task_id)
        if claim.outcome is ClaimOutcome.UNACCEPTED:
            age_ms = claim.now_ms - message.task.created_ms
            return DeliveryOutcome(
                OutcomeKind.UNACCEPTED, self.backoff.unaccepted(age_ms / 1000, claim.wait_ms / 1000), task_id
            )
        if claim.outcome is ClaimOutcome.NOT_ACCEPTED:
            return DeliveryOutcome(OutcomeKind.DISCARDED, None, task_id)
        if claim.outcome is ClaimOutcome.ENDED:
            kind = OutcomeKind.FAILED if claim.code else OutcomeKind.DUPLICATE
            return await self._save_request(
                delivery, message, deadlines, DeliveryOutcome(kind, None, task_id, code=claim.code)
            )
        return await self._work(LeasedTask(delivery, message, lease, claim, deadlines, permit, leave))

    async def _claim(self, lease: Lease) -> Claim:
        """Claim a task, again and again for a moment where its call is not accepted yet."""
        until = _now() + ACCEPT_SECONDS
        pause = FIRST_ACCEPT_PAUSE_SECONDS
        while True:
            claim = await self.claims.claim(lease)
            left = until - _now()
            if claim.outcome is not ClaimOutcome.UNACCEPTED or left <= 0:
                return claim
            await asyncio.sleep(min(pause, left))
            pause *= 2

    async def _unclaim(self, lease: Lease, deadlines: InvocationDeadlines) -> None:
        """Take back a claim whose reply was lost: the task would be nobody's until its lease is over."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout_at(deadlines.writes_end):
                await self.claims.release(lease, Release(WaitingOn.CAPACITY, refund=True))

    async def _save_request(
        self, delivery: ReceivedMessage, message: TaskMessage, deadlines: InvocationDeadlines, ending: DeliveryOutcome
    ) -> DeliveryOutcome:
        """Leave its request with a task that may have failed, or have the message come back until that is done."""
        try:
            async with asyncio.timeout_at(deadlines.writes_end):
                await self.claims.save_request(message.task.ref, delivery.body)
        except (StoreUnavailable, TimeoutError):
            return replace(ending, retry_in_seconds=self.backoff.after_receive(delivery.receives))
        return ending

    async def _finish_failed(self, leased: LeasedTask, code: FailureCode) -> DeliveryOutcome:
        return await self._save_request(
            leased.delivery, leased.message, leased.deadlines, leased.outcome(OutcomeKind.FAILED, None, code)
        )

    async def _work(self, leased: LeasedTask) -> DeliveryOutcome:
        started = _now()
        try:
            if started > leased.permit.start_by:
                return await self._release(
                    leased, leased.outcome(OutcomeKind.HELD, 0.0), Release(WaitingOn.RATE_LIMIT, refund=True)
                )
            ending = await self._ask_and_record(leased, started)
        except StoreUnavailable:
            # Whatever was to be recorded, the lease runs on: sooner than its end the message would only be busy.
            ending = leased.outcome(OutcomeKind.UNRECORDED, leased.deadlines.lease_seconds)
        except Exception as error:  # noqa: BLE001  # one task's fault must not reach its neighbours
            ending = replace(leased.outcome(OutcomeKind.CRASHED, leased.deadlines.lease_seconds), error=error)
        return replace(ending, call_seconds=ending.call_seconds or _now() - started)

    async def _ask_and_record(self, leased: LeasedTask, started: float) -> DeliveryOutcome:
        try:
            answer = await self.calls.ask(
                leased.lease, leased.message, leased.claim, leased.deadlines, leased.permit, leased.bill
            )
        except Exception as error:  # noqa: BLE001  # each kind is told apart, and none is left
            await self._book(leased)
            return await self._record_failure(leased, error, started)
        call_seconds = _now() - started
        await leased.free_slot()
        ending = await self._record_answer(leased, answer)
        return replace(ending, call_seconds=call_seconds, usage=answer.usage, cost_nanos=answer.cost_nanos)

    async def _record_answer(self, leased: LeasedTask, answer: Answer) -> DeliveryOutcome:
        if not is_readable(leased.lease.task.kind, answer):
            # It is paid for, and another would be as well: the task is not tried again.
            await self._book(leased)
            report = CallReport(answer.usage, answer.cost_nanos)
            return await self._fail(leased, FailureCode.ANSWER_TOO_LARGE, report=report)
        outcome = await self._write(leased, lambda: self.claims.complete(leased.lease, answer, leased.bill.charge))
        # Never LOST: an answer needs no lease, the first one wins.
        if outcome is EndOutcome.ENDED:
            return leased.outcome(OutcomeKind.COMPLETED, None)
        await self._book(leased)
        return leased.outcome(OutcomeKind.DUPLICATE, None)

    async def _book(self, leased: LeasedTask) -> None:
        """Book what the attempt has cost so far, which no answer will; before its end, so that who sees that sees both.

        A worker that dies has booked nothing of its running calls.
        """
        if leased.bill.charge != NO_CHARGE:
            await self._write(leased, lambda: self.claims.charge(leased.lease, leased.bill.charge))
            leased.bill.settle()

    async def _record_failure(self, leased: LeasedTask, error: Exception, started: float) -> DeliveryOutcome:
        match error:
            case CallInterrupted():
                ending = await self._record_cut(leased, error.cut, started)
            case ModelBusy() | Unavailable():
                ending = await self._refund(leased, error, started)
            case CallHeld():
                back = leased.outcome(OutcomeKind.HELD, self.backoff.after_deferral(error.seconds), error.code)
                ending = await self._release(leased, back, Release(error.waiting_on, refund=True, code=back.code))
            case ModelCrashed():
                ending = await self._retry_crashed(leased, error)
            case ModelFailed():
                if error.code in OVERLOAD_CODES:
                    self.calls.concurrency.refused(Origin.of(leased.message), started, _now())
                ending = await self._retry(leased, error.code, error.retry_after, leased.bill.report(error))
            case ModelRefused():
                ending = await self._fail(leased, error.code, error_type=error.kind, report=leased.bill.report(error))
            case _:  # the last resort: whatever the call raises, the task goes on
                ending = await self._retry_crashed(leased, ModelCrashed(error))
        return ending

    async def _record_cut(self, leased: LeasedTask, cut: InterruptReason, started: float) -> DeliveryOutcome:
        match cut:
            case InterruptReason.LOST:
                return leased.outcome(OutcomeKind.LOST, LOST_SECONDS)
            case InterruptReason.TIMEOUT:
                self.calls.concurrency.refused(Origin.of(leased.message), started, _now())
                return await self._retry(leased, FailureCode.TIMEOUT, None)
            case InterruptReason.DEADLINE:
                return await self._fail(leased, FailureCode.DEADLINE_EXCEEDED, FailureCode.TIMEOUT)
            case InterruptReason.STOP:
                # At once: the next invocation has all its time, and nobody asked us to wait.
                stopped = leased.outcome(OutcomeKind.STOPPED, 0.0, FailureCode.WORKER_STOPPED)
                return await self._release(leased, stopped, Release(WaitingOn.CAPACITY, code=stopped.code))

    async def _refund(self, leased: LeasedTask, error: ModelBusy | Unavailable, started: float) -> DeliveryOutcome:
        if isinstance(error, ModelBusy):
            return await self._wait_for_rate(leased, error, started)
        # The key was there when the invocation began, and could not be read again for this call.
        unavailable = leased.outcome(OutcomeKind.UNAVAILABLE, self.backoff.after_receive(leased.delivery.receives))
        return await self._release(leased, unavailable, Release(WaitingOn.PROVIDER, refund=True, code=unavailable.code))

    async def _wait_for_rate(self, leased: LeasedTask, busy: ModelBusy, started: float) -> DeliveryOutcome:
        """Give back a task that the provider has refused for its rate, and find out whether it is the only one."""
        report = leased.bill.report(busy)
        cause = await self._cause(leased, busy)
        if cause is RefusalCause.SIZE:
            return await self._fail(leased, FailureCode.REQUEST_TOO_LARGE, report=report)
        refusal = Refusal(leased.claim, leased.delivery.receives, cause, busy.retry_after)
        if not refusal.is_known:
            self.calls.concurrency.refused(Origin.of(leased.message), started, _now())
        back = leased.outcome(OutcomeKind.RATE_LIMITED, refusal.wait(self.backoff), busy.code)
        release = Release(WaitingOn.RATE_LIMIT, refusal.is_refunded, back.code, refused_by=cause, report=report)
        return await self._release(leased, back, release)

    async def _cause(self, leased: LeasedTask, busy: ModelBusy) -> RefusalCause:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(leased.deadlines.writes_end, _now() + PAUSE_SECONDS)):
                return await self.flow.slow_down(leased.message, busy, is_known=leased.claim.own_refusals > 0)
        return RefusalCause.MODEL

    async def _retry(
        self, leased: LeasedTask, code: FailureCode, asked: float | None, report: CallReport = NO_REPORT
    ) -> DeliveryOutcome:
        retried = leased.outcome(OutcomeKind.RETRIED, self.backoff.after_attempt(leased.claim.attempt, asked), code)
        return await self._release(leased, retried, Release(WaitingOn.PROVIDER, code=code, report=report))

    async def _retry_crashed(self, leased: LeasedTask, crashed: ModelCrashed) -> DeliveryOutcome:
        """Give the task back as after any failed call: nothing says that its lease has to be waited out."""
        return replace(await self._retry(leased, crashed.code, None), error=crashed.error)

    async def _release(self, leased: LeasedTask, back: DeliveryOutcome, release: Release) -> DeliveryOutcome:
        outcome = await self._write(leased, lambda: self.claims.release(leased.lease, release))
        match outcome:
            case ReleaseOutcome.RELEASED:
                return back
            case ReleaseOutcome.EXHAUSTED:
                return await self._finish_failed(leased, FailureCode.ATTEMPTS_EXHAUSTED)
            case ReleaseOutcome.LOST:
                return leased.outcome(OutcomeKind.LOST, LOST_SECONDS)

    async def _fail(
        self,
        leased: LeasedTask,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> DeliveryOutcome:
        outcome = await self._write(leased, lambda: self.claims.fail(leased.lease, code, last_code, error_type, report))
        match outcome:
            case EndOutcome.ENDED:
                return await self._finish_failed(leased, code)
            case EndOutcome.ALREADY:
                return leased.outcome(OutcomeKind.DUPLICATE, None)
            case _:
                return leased.outcome(OutcomeKind.LOST, LOST_SECONDS)

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
