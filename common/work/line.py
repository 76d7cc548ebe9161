"""Stand in line for the starts of one schedule that all workers share."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from common.flow import HORIZON_MS, NO_LIMIT, Booking, Feedback, Limit
from common.work.limits import ProviderLimits

LATE_SECONDS: Final = 0.4
"""A start that is later than this is given up: starts that are at most D late add D/60 to the rate of a minute. The way
to the provider adds some too, and together they should stay below a hundredth."""

NEWS_SECONDS: Final = 1.0
"""Without a limit only a pause can hold a call up: how long the news counts that there is none."""

GATHER_SHARE: Final = 0.1
"""Of the time to the latest start that was booked here, what we wait for others to ask with us: the next start will be
no sooner, and one question serves all."""

WORTH_SECONDS: Final = 1.0
"""Tokens are returned at once that take longer than this at the limit's rate; fewer go with the next question."""

LONGEST_WAIT_SECONDS: Final = 60.0
"""What is taken of a wait that the headers name: limits are per minute."""


class Schedules(Protocol):
    """Book starts; may raise StoreUnavailable."""

    async def reserve(self, scope: str, limit: Limit, costs: Sequence[int], feedback: Feedback) -> Booking:
        """Book a start for each of the costs, in tokens."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Say after how many seconds a start may be had; that is too far ahead to wait for it here."""

    seconds: float
    is_paused: bool


@dataclass(frozen=True, slots=True)
class _Slot:
    start_at: float
    start_by: float


class _Batch:
    """Hold those who ask for a start in one call."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[_Slot | Denied]]] = []

    def add(self, cost: int) -> asyncio.Future[_Slot | Denied]:
        """Ask for one more start."""
        answer: asyncio.Future[_Slot | Denied] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, answer))
        return answer

    def close(self) -> list[int]:
        """Return the costs of those who still wait; from now on nobody joins."""
        self._waiting = [(cost, answer) for cost, answer in self._waiting if not answer.done()]
        return [cost for cost, _ in self._waiting]

    def answer(self, slots: Sequence[_Slot | Denied]) -> int:
        """Answer those who still wait, and return the tokens that were booked for the others."""
        unused = 0
        for (cost, future), slot in zip(self._waiting, slots, strict=True):
            if not future.done():
                future.set_result(slot)
            elif isinstance(slot, _Slot):
                unused += cost
        return unused

    def fail(self, error: Exception) -> None:
        """Tell those who still wait that nothing could be asked."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)

    @property
    def is_left(self) -> bool:
        """Tell whether nobody waits any more."""
        return all(answer.done() for _, answer in self._waiting)

    async def end(self) -> None:
        """End the call; nothing of it runs on."""
        self.task.cancel()
        await asyncio.wait([self.task])


class Line:
    """Wait for starts. All that begin to wait at one moment ask in one call, which none of them owns.

    Times are those of the event loop: the store answers waits, never times of a clock of its own.
    """

    def __init__(self, schedules: Schedules, scope: str, limit: Limit) -> None:
        self._schedules = schedules
        self._scope = scope
        self._limit = limit
        self._batch: _Batch | None = None
        self._tokens = 0
        self._provider = NO_LIMIT
        self._request_wait_until = 0.0
        self._token_wait_until = 0.0
        self._paused_until = 0.0
        self._paused_at = float("-inf")
        self._clear_until = 0.0
        self._booked_until = 0.0

    @property
    def most_tokens(self) -> int:
        """Return the tokens of a minute: no call can be larger. 0 where a start's cost does not matter."""
        return self._limit.tokens

    async def start(self, cost: int) -> float | Denied:
        """Return when it is time to start, with the moment by which that must have happened.

        Raises:
            StoreUnavailable: the schedule cannot be reached.

        """
        while self._limit != NO_LIMIT or _now() >= self._clear_until:
            slot = await self._ask(cost)
            if isinstance(slot, Denied):
                return slot
            try:
                await asyncio.sleep(slot.start_at - _now())
            except BaseException:
                self.correct(-cost)
                raise
            if _now() <= slot.start_by and self._paused_until <= slot.start_at:
                return slot.start_by
            # Frozen meanwhile, or told to pause: the start goes unused.
            self.correct(-cost)
        return math.inf

    def pause(self, seconds: float) -> None:
        """Let nothing that waits here start for so long."""
        self._paused_at = _now()
        self._paused_until = max(self._paused_until, self._paused_at + seconds)
        self._clear_until = 0.0

    def correct(self, tokens: int) -> None:
        """Tell how many tokens a call has used beyond its cost."""
        self._tokens += tokens

    def hear(self, provider: ProviderLimits) -> None:
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

    async def _ask(self, cost: int) -> _Slot | Denied:
        batch = self._batch
        if batch is None:
            batch = self._batch = _Batch()
            batch.task = asyncio.create_task(self._ask_for_all(batch))
        answer = batch.add(cost)
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None and isinstance(answer.result(), _Slot):
                self.correct(-cost)  # booked at the very moment at which we stopped waiting
            answer.cancel()
            if batch.is_left and not batch.task.done():
                self._close(batch)  # before it has ended: who comes now would wait in vain
                await batch.end()
            raise

    async def _ask_for_all(self, batch: _Batch) -> None:
        try:
            # At least one turn of the loop: whoever begins to wait in it joins.
            await asyncio.sleep(max(0.0, self._booked_until - _now()) * GATHER_SHARE)
        finally:
            self._close(batch)
        try:
            slots = await self._reserve(batch.close())
        except Exception as error:  # noqa: BLE001  # it is each asker's
            batch.fail(error)
        else:
            self.correct(-batch.answer(slots))

    def _close(self, batch: _Batch) -> None:
        if self._batch is batch:
            self._batch = None

    async def _reserve(self, costs: Sequence[int]) -> list[_Slot | Denied]:
        asked_at = _now()
        booking = await self._schedules.reserve(self._scope, self._limit, costs, self._take_feedback(asked_at))
        answered_at = _now()
        # The store knows better, also how long an environment was frozen; but not what came up since it was asked.
        if self._paused_at <= asked_at:
            self._paused_until = answered_at + booking.paused_ms / 1000
            self._clear_until = answered_at + (0 if booking.paused_ms else NEWS_SECONDS)
        booked = [wait for wait in booking.waits_ms if wait <= HORIZON_MS]
        self._booked_until = answered_at + max(booked, default=0) / 1000
        # The store counted from a moment between the two: waiting from the later one, we are late and never early.
        late_by = LATE_SECONDS if self._limit != NO_LIMIT else math.inf
        return [
            Denied(wait / 1000, booking.paused_ms > HORIZON_MS)
            if wait > HORIZON_MS
            else _Slot(answered_at + wait / 1000, asked_at + wait / 1000 + late_by)
            for wait in booking.waits_ms
        ]

    def _take_feedback(self, now: float) -> Feedback:
        feedback = Feedback(
            self._tokens,
            self._provider,
            math.ceil(max(0.0, self._request_wait_until - now) * 1000),
            math.ceil(max(0.0, self._token_wait_until - now) * 1000),
        )
        self._tokens, self._provider = 0, NO_LIMIT
        return feedback


def _now() -> float:
    return asyncio.get_running_loop().time()
