"""Call the model for one task, for no longer than the shortest of the call's, the task's and the invocation's time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from common.domain.errors import CallHeld, ModelError, ModelFailed, ModelRefused, Unavailable
from common.domain.message import TaskMessage
from common.domain.prices import NO_PRICES
from common.domain.task import Answer, FailureCode
from common.domain.transitions import Claim, Lease
from common.worker.bill import Bill
from common.worker.billing import Billing
from common.worker.concurrency import AdaptiveConcurrency, Origin
from common.worker.deadlines import CallDurationEstimator, InvocationDeadlines
from common.worker.permit import Permit
from common.worker.progress import AnswerProgress, ProgressReporter

NO_BILLING: Final = Billing(NO_PRICES)
"""Charges tokens and no money."""


class ProgressListener(Protocol):
    """Receive an answer as it grows; `owner` is the attempt's fence, for what the model itself keeps in the store."""

    @property
    def owner(self) -> str:
        """Return the owner token of the lease."""

    @property
    def bill(self) -> Bill:
        """Return the bill of the attempt, for a model that itself charges the calls of its answer."""

    @property
    def own_refusals(self) -> int:
        """Return how often the task was refused for its rate before, while others were let through."""

    def __call__(self, text: str) -> None:
        """Take the next piece of it."""

    def at_step(self, done: int, steps: int, texts: Sequence[str] = ()) -> None:
        """Start over: of the steps of the answer so many are done, and these are the pieces of the running one."""


class Model(Protocol):
    """Answer prompts."""

    async def prepare(self) -> None:
        """Make sure that a call can be made, or raise Unavailable."""

    async def ask(self, message: TaskMessage, hear: ProgressListener, *, ends_at: float) -> Answer:
        """Answer one message, handing over each piece as it comes; raise ModelError.

        `ends_at` is the moment of the loop's clock at which the call is cut.
        """


class InterruptReason(Enum):
    """Name what can end a call from our side."""

    STOP = auto()
    """The soft stop of the invocation."""
    TIMEOUT = auto()
    """The time of one call."""
    DEADLINE = auto()
    """The task's deadline."""
    LOST = auto()
    """The lease: another worker holds it, or the task was cancelled."""


class CallInterrupted(Exception):
    """Report that the worker ended the call, and why."""

    def __init__(self, cut: InterruptReason) -> None:
        super().__init__(cut.name)
        self.cut = cut


@dataclass(frozen=True, slots=True)
class ModelCaller:
    """Make calls, and learn of them how long they take and how many go at a time; one for the environment."""

    model: Model
    progress: ProgressReporter
    concurrency: AdaptiveConcurrency
    durations: CallDurationEstimator
    timeout_seconds: float
    billing: Billing | None = NO_BILLING
    """Charges the calls; None where the model itself does, because one answer takes several."""

    async def ask(  # noqa: PLR0913, PLR0917  # each bounds the call, or records it
        self,
        lease: Lease,
        message: TaskMessage,
        claim: Claim,
        deadlines: InvocationDeadlines,
        permit: Permit,
        bill: Bill,
    ) -> Answer:
        """Return the model's answer to a claimed task. Permit and bill record what it has used, however it ends.

        Raises:
            CallCut: the call was ended from our side.
            ModelError: the model did not answer.

        """
        if permit.refusal is not None:
            raise ModelRefused(permit.refusal)
        origin, started = Origin.of(message), _now()
        to_deadline = (lease.task.deadline_ms - claim.now_ms) / 1000
        ends = {
            InterruptReason.STOP: deadlines.stop_at,
            InterruptReason.TIMEOUT: started + self.timeout_seconds,
            InterruptReason.DEADLINE: started + to_deadline,
        }
        cut = min(ends, key=ends.__getitem__)
        if ends[cut] <= started:
            raise CallInterrupted(cut)  # a timer that is over would still let the request out
        timer = asyncio.timeout_at(ends[cut])
        with self.progress.track(lease, message, lambda: _expire(timer), bill) as meter:
            meter.own_refusals, meter.on_begin = claim.own_refusals, permit.begun
            try:
                async with timer:
                    answer = await self._billed(message, meter, permit, bill, ends_at=ends[cut])
            except ModelRefused as error:
                if error.code is FailureCode.CONTENT_POLICY:
                    bill.text = meter.text  # it was paid for, and the filter may have let most of it through
                raise
            except TimeoutError:
                if not timer.expired():
                    raise
                raise CallInterrupted(InterruptReason.LOST if meter.lost else cut) from None
            finally:
                self.durations.record(origin.tenant, _now() - started)
        to_first = (meter.first_at or _now()) - started
        self.concurrency.succeeded(origin, started, _now(), to_first)
        return answer

    async def _billed(
        self, message: TaskMessage, meter: AnswerProgress, permit: Permit, bill: Bill, *, ends_at: float
    ) -> Answer:
        if self.billing is None:
            return await self._answer(message, meter, permit, ends_at=ends_at)
        try:
            answer = await self._answer(message, meter, permit, ends_at=ends_at)
        except BaseException as error:
            bill.add(self.billing.failed(message, error, meter.tokens))
            raise
        bill.add(self.billing.answered(message, answer, meter.tokens))
        return answer

    async def _answer(self, message: TaskMessage, meter: AnswerProgress, permit: Permit, *, ends_at: float) -> Answer:
        try:
            answer = await self.model.ask(message, meter, ends_at=ends_at)
        except (CallHeld, Unavailable):
            raise
        except ModelError as error:
            # The provider may count a prompt that it has failed on. It bills a refusal only once it has begun.
            if isinstance(error, ModelFailed) or meter.first_at is not None or error.usage is not None:
                permit.answered(error.usage, meter.tokens)
            raise
        except BaseException:
            permit.cut_off(meter.tokens)
            raise
        permit.answered(answer.usage, meter.tokens)
        return answer


def _expire(timer: asyncio.Timeout) -> None:
    if not timer.expired():
        timer.reschedule(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
