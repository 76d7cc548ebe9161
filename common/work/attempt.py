"""Work on one delivery: claim the task, ask the model, record what came of it. call.py has the asking."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from common.errors import (
    CallHeld,
    EventUnsent,
    ModelBusy,
    ModelCrashed,
    ModelFailed,
    ModelRefused,
    StoreUnavailable,
    Unavailable,
)
from common.flow import RefusalCause
from common.messages import TaskMessage
from common.portions import is_readable
from common.spending import NO_CHARGE, Charge
from common.tasks import Answer, FailureCode, TaskRef, WaitingOn
from common.transitions import NO_REPORT, CallReport, Claim, ClaimOutcome, EndOutcome, Lease, ReleaseOutcome
from common.work.backoff import LOST_SECONDS, Backoff
from common.work.bill import Bill
from common.work.call import CallCut, Calls, Cut
from common.work.concurrency import NO_ROOM, Origin
from common.work.delivery import Delivery, Ending, EndingKind
from common.work.flow import Gate
from common.work.permit import Permit
from common.work.refusals import Refusal
from common.work.window import Window

PAUSE_SECONDS: Final = 2.0
"""For telling all workers of a rate limit: a store that hangs must leave time for the release that comes after."""

ACCEPT_SECONDS: Final = 1.0
"""How long a task waits here, in its slot, for its call to be accepted. Submit accepts right after its last message, so
the first messages of a large batch are some tenths of a second early. What takes longer goes back to the queue."""

FIRST_ACCEPT_PAUSE_SECONDS: Final = 0.01
"""Between the first two claims of such a task; it doubles from then on."""


class TaskClaims(Protocol):
    """Hold the records: every method is one transition, safe to repeat, and may raise StoreUnavailable."""

    async def claim(self, lease: Lease) -> Claim:
        """Take the lease."""

    async def release(  # noqa: PLR0913  # each by name
        self,
        lease: Lease,
        *,
        refund: bool,
        code: FailureCode | None,
        waiting_on: WaitingOn,
        refused_by: RefusalCause | None = None,
        report: CallReport = NO_REPORT,
    ) -> ReleaseOutcome:
        """Give the task back; with a refund the attempt is not counted, and a refusal is counted apart."""

    async def wait(self, refs: Sequence[TaskRef], waiting_on: WaitingOn) -> None:
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

    async def keep(self, ref: TaskRef, request: str) -> None:
        """Leave its request with a task that has failed."""


@dataclass(frozen=True, slots=True)
class Held:
    """Hold what an attempt knows once it has the lease."""

    delivery: Delivery
    message: TaskMessage
    lease: Lease
    claim: Claim
    window: Window
    permit: Permit
    leave: Callable[[], Awaitable[None]]
    """Make room for the next call; what is left then is to record."""
    bill: Bill = field(default_factory=Bill)

    def ending(self, kind: EndingKind, visible_in: float | None, code: FailureCode | None = None) -> Ending:
        """Describe how it ends."""
        return Ending(kind, visible_in, self.lease.task.ref.task_id, self.claim.attempt, code)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Make attempts; the collaborators live as long as the environment, so nothing here belongs to one task."""

    claims: TaskClaims
    calls: Calls
    flow: Gate
    backoff: Backoff
    max_attempts: int

    async def make(
        self,
        delivery: Delivery,
        message: TaskMessage,
        window: Window,
        permit: Permit,
        leave: Callable[[], Awaitable[None]],
    ) -> Ending:
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
            return Ending(EndingKind.UNAVAILABLE, self.backoff.after_receive(delivery.receives), task_id)
        if claim.outcome is ClaimOutcome.BUSY:
            return Ending(EndingKind.BUSY, claim.wait_ms / 1000, task_id)
        if claim.outcome is ClaimOutcome.UNACCEPTED:
            age_ms = claim.now_ms - message.task.created_ms
            return Ending(EndingKind.UNACCEPTED, self.backoff.unaccepted(age_ms / 1000, claim.wait_ms / 1000), task_id)
        if claim.outcome is ClaimOutcome.NOT_ACCEPTED:
            return Ending(EndingKind.DISCARDED, None, task_id)
        if claim.outcome is ClaimOutcome.ENDED:
            kind = EndingKind.FAILED if claim.code else EndingKind.DUPLICATE
            return await self._kept(delivery, message, window, Ending(kind, None, task_id, code=claim.code))
        return await self._work(Held(delivery, message, lease, claim, window, permit, leave))

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

    async def _unclaim(self, lease: Lease, window: Window) -> None:
        """Take back a claim whose reply was lost: the task would be nobody's until its lease is over."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout_at(window.writes_end):
                await self.claims.release(lease, refund=True, code=None, waiting_on=WaitingOn.CAPACITY)

    async def _kept(self, delivery: Delivery, message: TaskMessage, window: Window, ending: Ending) -> Ending:
        """Leave its request with a task that may have failed, or have the message come back until that is done."""
        try:
            async with asyncio.timeout_at(window.writes_end):
                await self.claims.keep(message.task.ref, delivery.body)
        except (StoreUnavailable, TimeoutError):
            return replace(ending, visible_in=self.backoff.after_receive(delivery.receives))
        return ending

    async def _failed(self, held: Held, code: FailureCode) -> Ending:
        return await self._kept(held.delivery, held.message, held.window, held.ending(EndingKind.FAILED, None, code))

    async def _work(self, held: Held) -> Ending:
        started = _now()
        try:
            if started > held.permit.start_by:
                return await self._release(held, held.ending(EndingKind.HELD, 0.0), WaitingOn.RATE_LIMIT, refund=True)
            ending = await self._ask_and_record(held, started)
        except StoreUnavailable:
            # Whatever was to be recorded, the lease runs on: sooner than its end the message would only be busy.
            ending = held.ending(EndingKind.UNRECORDED, held.window.lease_seconds)
        except Exception as error:  # noqa: BLE001  # one task's fault must not reach its neighbours
            ending = replace(held.ending(EndingKind.CRASHED, held.window.lease_seconds), error=error)
        return replace(ending, call_seconds=ending.call_seconds or _now() - started)

    async def _ask_and_record(self, held: Held, started: float) -> Ending:
        try:
            answer = await self.calls.ask(held.lease, held.message, held.claim, held.window, held.permit, held.bill)
        except Exception as error:  # noqa: BLE001  # each kind is told apart, and none is left
            await self._book(held)
            return await self._record_failure(held, error, started)
        call_seconds = _now() - started
        await held.leave()
        ending = await self._record_answer(held, answer)
        return replace(ending, call_seconds=call_seconds, usage=answer.usage, cost_nanos=answer.cost_nanos)

    async def _record_answer(self, held: Held, answer: Answer) -> Ending:
        if not is_readable(answer):
            # It is paid for, and another would be as well: the task is not tried again.
            await self._book(held)
            report = CallReport(answer.usage, answer.cost_nanos)
            return await self._fail(held, FailureCode.ANSWER_TOO_LARGE, report=report)
        outcome = await self._written(held, lambda: self.claims.complete(held.lease, answer, held.bill.charge))
        # Never LOST: an answer needs no lease, the first one wins.
        if outcome is EndOutcome.ENDED:
            return held.ending(EndingKind.COMPLETED, None)
        await self._book(held)
        return held.ending(EndingKind.DUPLICATE, None)

    async def _book(self, held: Held) -> None:
        """Book what the attempt has cost so far, which no answer will; before its end, so that who sees that sees both.

        A worker that dies has booked nothing of its running calls.
        """
        if held.bill.charge != NO_CHARGE:
            await self._written(held, lambda: self.claims.charge(held.lease, held.bill.charge))
            held.bill.settle()

    async def _record_failure(self, held: Held, error: Exception, started: float) -> Ending:
        match error:
            case CallCut():
                ending = await self._record_cut(held, error.cut, started)
            case ModelBusy() | Unavailable():
                ending = await self._refund(held, error, started)
            case CallHeld():
                back = held.ending(EndingKind.HELD, self.backoff.after_hold(error.seconds), error.code)
                ending = await self._release(held, back, error.waiting_on, refund=True)
            case ModelCrashed():
                ending = await self._retry_crashed(held, error)
            case ModelFailed():
                if error.code in NO_ROOM:
                    self.calls.concurrency.refused(Origin.of(held.message), started, _now())
                ending = await self._retry(held, error.code, error.retry_after, held.bill.report(error))
            case ModelRefused():
                ending = await self._fail(held, error.code, error_type=error.kind, report=held.bill.report(error))
            case _:  # the last resort: whatever the call raises, the task goes on
                ending = await self._retry_crashed(held, ModelCrashed(error))
        return ending

    async def _record_cut(self, held: Held, cut: Cut, started: float) -> Ending:
        match cut:
            case Cut.LOST:
                return held.ending(EndingKind.LOST, LOST_SECONDS)
            case Cut.TIMEOUT:
                self.calls.concurrency.refused(Origin.of(held.message), started, _now())
                return await self._retry(held, FailureCode.TIMEOUT, None)
            case Cut.DEADLINE:
                return await self._fail(held, FailureCode.DEADLINE_EXCEEDED, FailureCode.TIMEOUT)
            case Cut.STOP:
                # At once: the next invocation has all its time, and nobody asked us to wait.
                stopped = held.ending(EndingKind.STOPPED, 0.0, FailureCode.WORKER_STOPPED)
                return await self._release(held, stopped, WaitingOn.CAPACITY, refund=False)

    async def _refund(self, held: Held, error: ModelBusy | Unavailable, started: float) -> Ending:
        if isinstance(error, ModelBusy):
            return await self._wait_for_rate(held, error, started)
        # The key was there when the invocation began, and could not be read again for this call.
        unavailable = held.ending(EndingKind.UNAVAILABLE, self.backoff.after_receive(held.delivery.receives))
        return await self._release(held, unavailable, WaitingOn.PROVIDER, refund=True)

    async def _wait_for_rate(self, held: Held, busy: ModelBusy, started: float) -> Ending:
        """Give back a task that the provider has refused for its rate, and find out whether it is the only one."""
        report = held.bill.report(busy)
        cause = await self._cause(held, busy)
        if cause is RefusalCause.SIZE:
            return await self._fail(held, FailureCode.REQUEST_TOO_LARGE, report=report)
        refusal = Refusal(held.claim, held.delivery.receives, cause, busy.retry_after)
        if not refusal.is_known:
            self.calls.concurrency.refused(Origin.of(held.message), started, _now())
        back = held.ending(EndingKind.RATE_LIMITED, refusal.wait(self.backoff), busy.code)
        refund = refusal.is_refunded
        return await self._release(held, back, WaitingOn.RATE_LIMIT, refund=refund, refused_by=cause, report=report)

    async def _cause(self, held: Held, busy: ModelBusy) -> RefusalCause:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(held.window.writes_end, _now() + PAUSE_SECONDS)):
                return await self.flow.slow_down(held.message, busy, is_known=held.claim.own_refusals > 0)
        return RefusalCause.MODEL

    async def _retry(
        self, held: Held, code: FailureCode, asked: float | None, report: CallReport = NO_REPORT
    ) -> Ending:
        retried = held.ending(EndingKind.RETRIED, self.backoff.after_attempt(held.claim.attempt, asked), code)
        return await self._release(held, retried, WaitingOn.PROVIDER, refund=False, report=report)

    async def _retry_crashed(self, held: Held, crashed: ModelCrashed) -> Ending:
        """Give the task back as after any failed call: nothing says that its lease has to be waited out."""
        return replace(await self._retry(held, crashed.code, None), error=crashed.error)

    async def _release(  # noqa: PLR0913  # each by name
        self,
        held: Held,
        back: Ending,
        waiting_on: WaitingOn,
        *,
        refund: bool,
        refused_by: RefusalCause | None = None,
        report: CallReport = NO_REPORT,
    ) -> Ending:
        def release() -> Awaitable[ReleaseOutcome]:
            return self.claims.release(
                held.lease,
                refund=refund,
                code=back.code,
                waiting_on=waiting_on,
                refused_by=refused_by,
                report=report,
            )

        outcome = await self._written(held, release)
        match outcome:
            case ReleaseOutcome.RELEASED:
                return back
            case ReleaseOutcome.EXHAUSTED:
                return await self._failed(held, FailureCode.ATTEMPTS_EXHAUSTED)
            case ReleaseOutcome.LOST:
                return held.ending(EndingKind.LOST, LOST_SECONDS)

    async def _fail(
        self,
        held: Held,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> Ending:
        outcome = await self._written(held, lambda: self.claims.fail(held.lease, code, last_code, error_type, report))
        match outcome:
            case EndOutcome.ENDED:
                return await self._failed(held, code)
            case EndOutcome.ALREADY:
                return held.ending(EndingKind.DUPLICATE, None)
            case _:
                return held.ending(EndingKind.LOST, LOST_SECONDS)

    async def _written[Outcome](self, held: Held, write: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Write until the store takes it or the time for writes is over; raise StoreUnavailable then."""
        while True:
            try:
                async with asyncio.timeout_at(held.window.writes_end):
                    return await write()
            except EventUnsent:
                raise  # it is written; the event is for the next delivery, and the slot for the next task
            except (StoreUnavailable, TimeoutError):
                pause = self.backoff.before_rewrite()
                if _now() + pause >= held.window.writes_end:
                    raise StoreUnavailable from None
            await asyncio.sleep(pause)


def _now() -> float:
    return asyncio.get_running_loop().time()
