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
        window: InvocationDeadlines,
        permit: Permit,
        leave: Callable[[], Awaitable[None]],
    ) -> DeliveryOutcome:
        """Work on one delivery to its end; every wait in here ends within the window.

        `permit` is told what the call has used; who gave it settles it. `leave` is called once the answer is there, so
        that the next call begins while this one's is recorded. It is not called otherwise: what failed may have to slow
        the others down first.
        """
        # Random for each claim: the fence that keeps a worker which lost its lease from writing.
        lease = Lease(message.task, secrets.token_hex(16), window.lease_ms, self.max_attempts)
        task_id = message.task.ref.task_id
        try:
            async with asyncio.timeout_at(window.stop_at):
                claim = await self._claim(lease)
        except (StoreUnavailable, TimeoutError):
            await self._unclaim(lease, window)
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
                delivery, message, window, DeliveryOutcome(kind, None, task_id, code=claim.code)
            )
        return await self._work(LeasedTask(delivery, message, lease, claim, window, permit, leave))

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

    async def _unclaim(self, lease: Lease, window: InvocationDeadlines) -> None:
        """Take back a claim whose reply was lost: the task would be nobody's until its lease is over."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout_at(window.writes_end):
                await self.claims.release(lease, Release(WaitingOn.CAPACITY, refund=True))

    async def _save_request(
        self, delivery: ReceivedMessage, message: TaskMessage, window: InvocationDeadlines, ending: DeliveryOutcome
    ) -> DeliveryOutcome:
        """Leave its request with a task that may have failed, or have the message come back until that is done."""
        try:
            async with asyncio.timeout_at(window.writes_end):
                await self.claims.save_request(message.task.ref, delivery.body)
        except (StoreUnavailable, TimeoutError):
            return replace(ending, retry_in_seconds=self.backoff.after_receive(delivery.receives))
        return ending

    async def _finish_failed(self, held: LeasedTask, code: FailureCode) -> DeliveryOutcome:
        return await self._save_request(
            held.delivery, held.message, held.deadlines, held.outcome(OutcomeKind.FAILED, None, code)
        )

    async def _work(self, held: LeasedTask) -> DeliveryOutcome:
        started = _now()
        try:
            if started > held.permit.start_by:
                return await self._release(
                    held, held.outcome(OutcomeKind.HELD, 0.0), Release(WaitingOn.RATE_LIMIT, refund=True)
                )
            ending = await self._ask_and_record(held, started)
        except StoreUnavailable:
            # Whatever was to be recorded, the lease runs on: sooner than its end the message would only be busy.
            ending = held.outcome(OutcomeKind.UNRECORDED, held.deadlines.lease_seconds)
        except Exception as error:  # noqa: BLE001  # one task's fault must not reach its neighbours
            ending = replace(held.outcome(OutcomeKind.CRASHED, held.deadlines.lease_seconds), error=error)
        return replace(ending, call_seconds=ending.call_seconds or _now() - started)

    async def _ask_and_record(self, held: LeasedTask, started: float) -> DeliveryOutcome:
        try:
            answer = await self.calls.ask(held.lease, held.message, held.claim, held.deadlines, held.permit, held.bill)
        except Exception as error:  # noqa: BLE001  # each kind is told apart, and none is left
            await self._book(held)
            return await self._record_failure(held, error, started)
        call_seconds = _now() - started
        await held.free_slot()
        ending = await self._record_answer(held, answer)
        return replace(ending, call_seconds=call_seconds, usage=answer.usage, cost_nanos=answer.cost_nanos)

    async def _record_answer(self, held: LeasedTask, answer: Answer) -> DeliveryOutcome:
        if not is_readable(held.lease.task.kind, answer):
            # It is paid for, and another would be as well: the task is not tried again.
            await self._book(held)
            report = CallReport(answer.usage, answer.cost_nanos)
            return await self._fail(held, FailureCode.ANSWER_TOO_LARGE, report=report)
        outcome = await self._write(held, lambda: self.claims.complete(held.lease, answer, held.bill.charge))
        # Never LOST: an answer needs no lease, the first one wins.
        if outcome is EndOutcome.ENDED:
            return held.outcome(OutcomeKind.COMPLETED, None)
        await self._book(held)
        return held.outcome(OutcomeKind.DUPLICATE, None)

    async def _book(self, held: LeasedTask) -> None:
        """Book what the attempt has cost so far, which no answer will; before its end, so that who sees that sees both.

        A worker that dies has booked nothing of its running calls.
        """
        if held.bill.charge != NO_CHARGE:
            await self._write(held, lambda: self.claims.charge(held.lease, held.bill.charge))
            held.bill.settle()

    async def _record_failure(self, held: LeasedTask, error: Exception, started: float) -> DeliveryOutcome:
        match error:
            case CallInterrupted():
                ending = await self._record_cut(held, error.cut, started)
            case ModelBusy() | Unavailable():
                ending = await self._refund(held, error, started)
            case CallHeld():
                back = held.outcome(OutcomeKind.HELD, self.backoff.after_deferral(error.seconds), error.code)
                ending = await self._release(held, back, Release(error.waiting_on, refund=True, code=back.code))
            case ModelCrashed():
                ending = await self._retry_crashed(held, error)
            case ModelFailed():
                if error.code in OVERLOAD_CODES:
                    self.calls.concurrency.refused(Origin.of(held.message), started, _now())
                ending = await self._retry(held, error.code, error.retry_after, held.bill.report(error))
            case ModelRefused():
                ending = await self._fail(held, error.code, error_type=error.kind, report=held.bill.report(error))
            case _:  # the last resort: whatever the call raises, the task goes on
                ending = await self._retry_crashed(held, ModelCrashed(error))
        return ending

    async def _record_cut(self, held: LeasedTask, cut: InterruptReason, started: float) -> DeliveryOutcome:
        match cut:
            case InterruptReason.LOST:
                return held.outcome(OutcomeKind.LOST, LOST_SECONDS)
            case InterruptReason.TIMEOUT:
                self.calls.concurrency.refused(Origin.of(held.message), started, _now())
                return await self._retry(held, FailureCode.TIMEOUT, None)
            case InterruptReason.DEADLINE:
                return await self._fail(held, FailureCode.DEADLINE_EXCEEDED, FailureCode.TIMEOUT)
            case InterruptReason.STOP:
                # At once: the next invocation has all its time, and nobody asked us to wait.
                stopped = held.outcome(OutcomeKind.STOPPED, 0.0, FailureCode.WORKER_STOPPED)
                return await self._release(held, stopped, Release(WaitingOn.CAPACITY, code=stopped.code))

    async def _refund(self, held: LeasedTask, error: ModelBusy | Unavailable, started: float) -> DeliveryOutcome:
        if isinstance(error, ModelBusy):
            return await self._wait_for_rate(held, error, started)
        # The key was there when the invocation began, and could not be read again for this call.
        unavailable = held.outcome(OutcomeKind.UNAVAILABLE, self.backoff.after_receive(held.delivery.receives))
        return await self._release(held, unavailable, Release(WaitingOn.PROVIDER, refund=True, code=unavailable.code))

    async def _wait_for_rate(self, held: LeasedTask, busy: ModelBusy, started: float) -> DeliveryOutcome:
        """Give back a task that the provider has refused for its rate, and find out whether it is the only one."""
        report = held.bill.report(busy)
        cause = await self._cause(held, busy)
        if cause is RefusalCause.SIZE:
            return await self._fail(held, FailureCode.REQUEST_TOO_LARGE, report=report)
        refusal = Refusal(held.claim, held.delivery.receives, cause, busy.retry_after)
        if not refusal.is_known:
            self.calls.concurrency.refused(Origin.of(held.message), started, _now())
        back = held.outcome(OutcomeKind.RATE_LIMITED, refusal.wait(self.backoff), busy.code)
        release = Release(WaitingOn.RATE_LIMIT, refusal.is_refunded, back.code, refused_by=cause, report=report)
        return await self._release(held, back, release)

    async def _cause(self, held: LeasedTask, busy: ModelBusy) -> RefusalCause:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(held.deadlines.writes_end, _now() + PAUSE_SECONDS)):
                return await self.flow.slow_down(held.message, busy, is_known=held.claim.own_refusals > 0)
        return RefusalCause.MODEL

    async def _retry(
        self, held: LeasedTask, code: FailureCode, asked: float | None, report: CallReport = NO_REPORT
    ) -> DeliveryOutcome:
        retried = held.outcome(OutcomeKind.RETRIED, self.backoff.after_attempt(held.claim.attempt, asked), code)
        return await self._release(held, retried, Release(WaitingOn.PROVIDER, code=code, report=report))

    async def _retry_crashed(self, held: LeasedTask, crashed: ModelCrashed) -> DeliveryOutcome:
        """Give the task back as after any failed call: nothing says that its lease has to be waited out."""
        return replace(await self._retry(held, crashed.code, None), error=crashed.error)

    async def _release(self, held: LeasedTask, back: DeliveryOutcome, release: Release) -> DeliveryOutcome:
        outcome = await self._write(held, lambda: self.claims.release(held.lease, release))
        match outcome:
            case ReleaseOutcome.RELEASED:
                return back
            case ReleaseOutcome.EXHAUSTED:
                return await self._finish_failed(held, FailureCode.ATTEMPTS_EXHAUSTED)
            case ReleaseOutcome.LOST:
                return held.outcome(OutcomeKind.LOST, LOST_SECONDS)

    async def _fail(
        self,
        held: LeasedTask,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> DeliveryOutcome:
        outcome = await self._write(held, lambda: self.claims.fail(held.lease, code, last_code, error_type, report))
        match outcome:
            case EndOutcome.ENDED:
                return await self._finish_failed(held, code)
            case EndOutcome.ALREADY:
                return held.outcome(OutcomeKind.DUPLICATE, None)
            case _:
                return held.outcome(OutcomeKind.LOST, LOST_SECONDS)

    async def _write[Outcome](self, held: LeasedTask, write: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Write until the store takes it or the time for writes is over; raise StoreUnavailable then."""
        while True:
            try:
                async with asyncio.timeout_at(held.deadlines.writes_end):
                    return await write()
            except EventUnsent:
                raise  # it is written; the event is for the next delivery, and the slot for the next task
            except (StoreUnavailable, TimeoutError):
                pause = self.backoff.before_rewrite()
                if _now() + pause >= held.deadlines.writes_end:
                    raise StoreUnavailable from None
            await asyncio.sleep(pause)


def _now() -> float:
    return asyncio.get_running_loop().time()
