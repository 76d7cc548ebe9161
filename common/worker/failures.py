"""Decide what becomes of a task whose call brought no answer: retry, defer, fail, or leave it to another worker."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from common.domain.errors import CallHeld, ModelBusy, ModelCrashed, ModelFailed, ModelRefused, Unavailable
from common.domain.rate_limits import RefusalCause
from common.domain.task import FailureCode, WaitingOn
from common.domain.transitions import NO_REPORT, CallReport, Release
from common.worker.backoff import LOST_SECONDS, Backoff
from common.worker.concurrency import OVERLOAD_CODES, AdaptiveConcurrency, Origin
from common.worker.leased_task import LeasedTask
from common.worker.message import DeliveryOutcome, OutcomeKind
from common.worker.model_call import CallInterrupted, InterruptReason
from common.worker.rate_limiter import StartLimiter
from common.worker.refusals import Refusal
from common.worker.transition_writer import TransitionWriter

PAUSE_SECONDS: Final = 2.0
"""For telling all workers of a rate limit: a store that hangs must leave time for the release that comes after."""


@dataclass(frozen=True, slots=True)
class FailureRecorder:
    """Record calls that failed; each exception has one rule."""

    writer: TransitionWriter
    concurrency: AdaptiveConcurrency
    flow: StartLimiter
    backoff: Backoff

    async def record(self, leased: LeasedTask, error: Exception, started: float) -> DeliveryOutcome:
        """Record how the call ended, by its exception; `started` is when it began, by the clock of the loop."""
        match error:
            case CallInterrupted():
                outcome = await self._record_cut(leased, error.cut, started)
            case ModelBusy() | Unavailable():
                outcome = await self._refund(leased, error, started)
            case CallHeld():
                back = leased.outcome(OutcomeKind.HELD, self.backoff.after_deferral(error.seconds), error.code)
                outcome = await self.writer.release(
                    leased, back, Release(error.waiting_on, refund=True, code=back.code)
                )
            case ModelCrashed():
                outcome = await self._retry_crashed(leased, error)
            case ModelFailed():
                if error.code in OVERLOAD_CODES:
                    self.concurrency.refused(Origin.of(leased.message), started, _now())
                outcome = await self._retry(leased, error.code, error.retry_after, leased.bill.report(error))
            case ModelRefused():
                outcome = await self.writer.fail(
                    leased, error.code, error_type=error.kind, report=leased.bill.report(error)
                )
            case _:  # the last resort: whatever the call raises, the task goes on
                outcome = await self._retry_crashed(leased, ModelCrashed(error))
        return outcome

    async def _record_cut(self, leased: LeasedTask, cut: InterruptReason, started: float) -> DeliveryOutcome:
        match cut:
            case InterruptReason.LOST:
                return leased.outcome(OutcomeKind.LOST, LOST_SECONDS)
            case InterruptReason.TIMEOUT:
                self.concurrency.refused(Origin.of(leased.message), started, _now())
                return await self._retry(leased, FailureCode.TIMEOUT, None)
            case InterruptReason.DEADLINE:
                return await self.writer.fail(leased, FailureCode.DEADLINE_EXCEEDED, FailureCode.TIMEOUT)
            case InterruptReason.STOP:
                # At once: the next invocation has all its time, and nobody asked us to wait.
                stopped = leased.outcome(OutcomeKind.STOPPED, 0.0, FailureCode.WORKER_STOPPED)
                return await self.writer.release(leased, stopped, Release(WaitingOn.CAPACITY, code=stopped.code))

    async def _refund(self, leased: LeasedTask, error: ModelBusy | Unavailable, started: float) -> DeliveryOutcome:
        if isinstance(error, ModelBusy):
            return await self._wait_for_rate(leased, error, started)
        # The key was there when the invocation began, and could not be read again for this call.
        unavailable = leased.outcome(OutcomeKind.UNAVAILABLE, self.backoff.after_receive(leased.delivery.receives))
        return await self.writer.release(
            leased, unavailable, Release(WaitingOn.PROVIDER, refund=True, code=unavailable.code)
        )

    async def _wait_for_rate(self, leased: LeasedTask, busy: ModelBusy, started: float) -> DeliveryOutcome:
        """Give back a task that the provider has refused for its rate, and find out whether it is the only one."""
        report = leased.bill.report(busy)
        cause = await self._cause(leased, busy)
        if cause is RefusalCause.SIZE:
            return await self.writer.fail(leased, FailureCode.REQUEST_TOO_LARGE, report=report)
        refusal = Refusal(leased.claim, leased.delivery.receives, cause, busy.retry_after)
        if not refusal.is_known:
            self.concurrency.refused(Origin.of(leased.message), started, _now())
        back = leased.outcome(OutcomeKind.RATE_LIMITED, refusal.wait(self.backoff), busy.code)
        release = Release(WaitingOn.RATE_LIMIT, refusal.is_refunded, back.code, refused_by=cause, report=report)
        return await self.writer.release(leased, back, release)

    async def _cause(self, leased: LeasedTask, busy: ModelBusy) -> RefusalCause:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(leased.deadlines.writes_end, _now() + PAUSE_SECONDS)):
                return await self.flow.slow_down(leased.message, busy, is_known=leased.claim.own_refusals > 0)
        return RefusalCause.MODEL

    async def _retry(
        self, leased: LeasedTask, code: FailureCode, asked: float | None, report: CallReport = NO_REPORT
    ) -> DeliveryOutcome:
        retried = leased.outcome(OutcomeKind.RETRIED, self.backoff.after_attempt(leased.claim.attempt, asked), code)
        return await self.writer.release(leased, retried, Release(WaitingOn.PROVIDER, code=code, report=report))

    async def _retry_crashed(self, leased: LeasedTask, crashed: ModelCrashed) -> DeliveryOutcome:
        """Give the task back as after any failed call: nothing says that its lease has to be waited out."""
        return replace(await self._retry(leased, crashed.code, None), error=crashed.error)


def _now() -> float:
    return asyncio.get_running_loop().time()
