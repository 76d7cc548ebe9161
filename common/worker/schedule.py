"""Wait for the starts of one schedule that all workers share."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from common.domain.rate_limits import HORIZON_MS, NO_LIMIT, Feedback, Limit, StartRequest, StartTime
from common.worker.limits import ProviderLimits
from common.worker.pauses import KnownPauses
from common.worker.start_batch import BookedStart, StartBatch, StartDenied, tokens_of

LATE_SECONDS: Final = 0.4
"""A start that is later than this is given up: starts that are at most D late add D/60 to the rate of a minute. The way
to the provider adds some too, and together they should stay below a hundredth."""

BATCH_SHARE: Final = 0.1
"""Of the time to the latest start that was booked here, what we wait for others to ask with us: the next start will be
no sooner, and one question serves all."""

WORTH_SECONDS: Final = 1.0
"""Tokens are returned at once that take longer than this at the limit's rate; fewer go with the next question."""

PATIENCE_SECONDS: Final = 1.0
"""The longest pause of its tenant alone that a call waits for here: what waits keeps the worker from other tenants."""

LONGEST_WAIT_SECONDS: Final = 60.0
"""What is taken of a wait that the headers name: limits are per minute."""


class ScheduleStore(Protocol):
    """Book starts; may raise StoreUnavailable."""

    async def reserve(
        self, scope: str, limit: Limit, requests: Sequence[StartRequest], feedback: Feedback
    ) -> Sequence[StartTime]:
        """Book a start for each of the requests."""


class ScheduleClient:
    """Wait for starts. All that begin to wait at one moment ask in one call.

    Times are those of the event loop: the store answers waits, never times of a clock of its own.
    """

    def __init__(self, schedules: ScheduleStore, scope: str, limit: Limit) -> None:
        self._schedules = schedules
        self._scope = scope
        self._limit = limit
        self._pauses = KnownPauses()
        self._batch: StartBatch | None = None
        self._tokens = 0
        self._let_through: Counter[str] = Counter()
        self._provider = NO_LIMIT
        self._request_wait_until = 0.0
        self._token_wait_until = 0.0
        self._booked_until = 0.0

    @property
    def most_tokens(self) -> int:
        """Return the tokens of a minute: no call can be larger. 0 where a start's cost does not matter."""
        return self._limit.tokens

    async def start(self, request: StartRequest) -> float | StartDenied:
        """Return when it is time to start, with the moment by which that must have happened.

        Raises:
            StoreUnavailable: the schedule cannot be reached.

        """
        tenant = request.tenant
        while self._limit != NO_LIMIT or not self._pauses.are_known_to_be_over(tenant, _now()):
            slot = await self._reserve_one(request)
            if isinstance(slot, StartDenied):
                return slot
            try:
                await asyncio.sleep(slot.start_at - _now())
            except BaseException:
                self.correct(-tokens_of(slot, request))
                raise
            if slot.is_booked and _now() <= slot.start_by and self._pauses.until(tenant) <= slot.start_at:
                return slot.start_by
            # Paused by its tenant, frozen meanwhile, or paused: what is booked is not used.
            self.correct(-tokens_of(slot, request))
        return math.inf

    def pause(self, seconds: float, tenant: str | None = None) -> None:
        """Pause what waits here for so long: of one tenant, or at all."""
        self._pauses.note(_now(), seconds, tenant)

    def correct(self, tokens: int) -> None:
        """Report how many tokens a call has used beyond its cost."""
        self._tokens += tokens

    def let_through(self, tenant: str) -> None:
        """Report that the provider has begun to answer a call of this tenant."""
        self._let_through[tenant] += 1

    def record_provider_limits(self, provider: ProviderLimits) -> None:
        """Take what the provider says of its own limits."""
        self._provider = provider.limit
        now = _now()
        self._request_wait_until = now + min(provider.request_wait, LONGEST_WAIT_SECONDS)
        self._token_wait_until = now + min(provider.token_wait, LONGEST_WAIT_SECONDS)

    async def report(self) -> None:
        """Return what calls have booked and not used, if others wait for it; else it goes with the next question.

        Raises:
            StoreUnavailable: it may be lost.

        """
        if self._limit.tokens and -self._tokens > self._limit.tokens / 60 * WORTH_SECONDS:
            await self._reserve(())

    async def _reserve_one(self, request: StartRequest) -> BookedStart | StartDenied:
        batch = self._batch
        if batch is None:
            batch = self._batch = StartBatch()
            batch.task = asyncio.create_task(self._reserve_for_all(batch))
        answer = batch.add(request)
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None:
                # Booked at the very moment at which we stopped waiting.
                self.correct(-tokens_of(answer.result(), request))
            answer.cancel()
            if batch.is_left and not batch.task.done():
                self._close(batch)  # before it has ended: who comes now would wait in vain
                await batch.end()
            raise

    async def _reserve_for_all(self, batch: StartBatch) -> None:
        try:
            # At least one turn of the loop: every call that begins to wait in it joins.
            await asyncio.sleep(max(0.0, self._booked_until - _now()) * BATCH_SHARE)
        finally:
            self._close(batch)
        try:
            slots = await self._reserve(batch.close())
        except Exception as error:  # noqa: BLE001  # it is each asker's
            batch.fail(error)
        else:
            self.correct(-batch.answer(slots))

    def _close(self, batch: StartBatch) -> None:
        if self._batch is batch:
            self._batch = None

    async def _reserve(self, requests: Sequence[StartRequest]) -> list[BookedStart | StartDenied]:
        asked_at = _now()
        starts = await self._schedules.reserve(self._scope, self._limit, requests, self._take_feedback(asked_at))
        answered_at = _now()
        self._pauses.forget(answered_at)
        for request, start in zip(requests, starts, strict=True):
            self._pauses.learn(request.tenant, asked_at, answered_at, start.paused_ms / 1000)
        self._booked_until = answered_at + max((start.wait_ms for start in starts if start.is_booked), default=0) / 1000
        return [self._slot(start, asked_at, answered_at) for start in starts]

    def _slot(self, start: StartTime, asked_at: float, answered_at: float) -> BookedStart | StartDenied:
        wait = start.wait_ms / 1000
        if start.wait_ms > HORIZON_MS:
            return StartDenied(wait, start.paused_ms > HORIZON_MS)
        if not start.is_booked and wait > PATIENCE_SECONDS:
            return StartDenied(wait, is_paused=True)
        # The store counted from a moment between the two: waiting from the later one, we are late and never early.
        late_by = LATE_SECONDS if self._limit != NO_LIMIT else math.inf
        return BookedStart(answered_at + wait, asked_at + wait + late_by, start.is_booked)

    def _take_feedback(self, now: float) -> Feedback:
        feedback = Feedback(
            self._tokens,
            self._provider,
            math.ceil(max(0.0, self._request_wait_until - now) * 1000),
            math.ceil(max(0.0, self._token_wait_until - now) * 1000),
            self._let_through,
        )
        self._tokens, self._provider, self._let_through = 0, NO_LIMIT, Counter()
        return feedback


def _now() -> float:
    return asyncio.get_running_loop().time()
