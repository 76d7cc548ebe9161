"""Work on one delivery: claim the task, call the model, record the outcome."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from common.domain.errors import StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.task import WaitingOn
from common.domain.transitions import Claim, ClaimOutcome, Lease, Release
from common.worker.backoff import Backoff
from common.worker.deadlines import InvocationDeadlines
from common.worker.failures import FailureRecorder
from common.worker.leased_task import LeasedTask, TaskTransitions
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.model_call import ModelCaller
from common.worker.permit import Permit
from common.worker.rate_limiter import StartLimiter
from common.worker.transition_writer import TransitionWriter

ACCEPT_SECONDS: Final = 1.0
"""How long a task waits here, in its slot, for its call to be accepted. Submit accepts right after its last message, so
the first messages of a large batch are some tenths of a second early. What takes longer goes back to the queue."""

FIRST_ACCEPT_PAUSE_SECONDS: Final = 0.01
"""Between the first two claims of such a task; it doubles from then on."""


class AttemptRunner:
    """Make attempts; the collaborators live as long as the environment, so nothing here belongs to one task."""

    def __init__(
        self,
        *,
        claims: TaskTransitions,
        calls: ModelCaller,
        flow: StartLimiter,
        backoff: Backoff,
        max_attempts: int,
    ) -> None:
        self.claims = claims
        self.flow = flow
        self.calls = calls
        self.backoff = backoff
        self._max_attempts = max_attempts
        self._writer = TransitionWriter(claims, backoff)
        self._failures = FailureRecorder(self._writer, calls.concurrency, flow, backoff)

    async def run(
        self,
        delivery: ReceivedMessage,
        message: TaskMessage,
        deadlines: InvocationDeadlines,
        permit: Permit,
        leave: Callable[[], Awaitable[None]],
    ) -> DeliveryOutcome:
        """Work on one delivery to its end; every wait in here ends within the deadlines.

        `permit` records what the call has used; its owner settles it. `leave` is called once the answer is there, so
        that the next call begins while this one's is recorded. It is not called otherwise: what failed may have to slow
        the others down first.
        """
        # Random for each claim: the fence that keeps a worker which lost its lease from writing.
        lease = Lease(message.task, secrets.token_hex(16), deadlines.lease_ms, self._max_attempts)
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
            return await self._writer.save_request(
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

    async def _work(self, leased: LeasedTask) -> DeliveryOutcome:
        started = _now()
        try:
            if started > leased.permit.start_by:
                return await self._writer.release(
                    leased, leased.outcome(OutcomeKind.HELD, 0.0), Release(WaitingOn.RATE_LIMIT, refund=True)
                )
            outcome = await self._ask_and_record(leased, started)
        except StoreUnavailable:
            # Whatever was to be recorded, the lease runs on: sooner than its end the message would only be busy.
            outcome = leased.outcome(OutcomeKind.UNRECORDED, leased.deadlines.lease_seconds)
        except Exception as error:  # noqa: BLE001  # one task's fault must not reach its neighbours
            outcome = replace(leased.outcome(OutcomeKind.CRASHED, leased.deadlines.lease_seconds), error=error)
        return replace(outcome, call_seconds=outcome.call_seconds or _now() - started)

    async def _ask_and_record(self, leased: LeasedTask, started: float) -> DeliveryOutcome:
        try:
            answer = await self.calls.ask(
                leased.lease, leased.message, leased.claim, leased.deadlines, leased.permit, leased.bill
            )
        except Exception as error:  # noqa: BLE001  # FailureRecorder has a rule for every exception
            await self._writer.book(leased)
            return await self._failures.record(leased, error, started)
        call_seconds = _now() - started
        await leased.free_slot()
        outcome = await self._writer.complete(leased, answer)
        return replace(outcome, call_seconds=call_seconds, usage=answer.usage, cost_nanos=answer.cost_nanos)


def _now() -> float:
    return asyncio.get_running_loop().time()
