"""Stand in line for the starts of one schedule that all workers share."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from common.errors import StoreUnavailable
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


type _Waiter = tuple[int, asyncio.Future[_Slot | Denied]]


class Line:
    """Wait for starts. All that begin to wait at one moment ask in one call.

    Times are those of the event loop: the store answers waits, never times of a clock of its own.
    """

    def __init__(self, schedules: Schedules, scope: str, limit: Limit) -> None:
        self._schedules = schedules
        self._scope = scope
        self._limit = limit
        self._waiting: list[_Waiter] = []
        self._tokens = 0
        self._provider = NO_LIMIT
        self._request_wait_until = 0.0
        self._token_wait_until = 0.0
        self._paused_until = 0.0
        self._paused_at = float("-inf")
        self._clear_until = 0.0
        self._booked_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Tell whether a start's cost matters."""
        return self._limit.tokens > 0

    async def start(self, cost: int) -> float | Denied:
        """Return when it is time to start, with the moment by which that must have happened.

        Raises:
            StoreUnavailable: the schedule cannot be reached.

        """
        while self._limit != NO_LIMIT or _now() >= self._clear_until:
            slot = await self._ask(cost)
            if isinstance(slot, Denied):
                return slot
            await asyncio.sleep(slot.start_at - _now())
            # Frozen meanwhile, or told to pause: the start goes unused.
            if _now() <= slot.start_by and self._paused_until <= slot.start_at:
                return slot.start_by
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

    async def _ask(self, cost: int) -> _Slot | Denied:
        answer: asyncio.Future[_Slot | Denied] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, answer))
        if len(self._waiting) == 1:
            await self._ask_for_all(self._waiting)
        return await answer

    async def _ask_for_all(self, waiting: list[_Waiter]) -> None:
        try:
            # At least one turn of the loop: whoever begins to wait in it joins.
            await asyncio.sleep(max(0.0, self._booked_until - _now()) * GATHER_SHARE)
            self._waiting = []
            slots = await self._reserve([cost for cost, _ in waiting])
        except BaseException as error:
            if self._waiting is waiting:
                self._waiting = []
            # Ours may be a timeout of our own; for the others the store did not answer.
            for _, future in waiting[1:]:
                if not future.done():
                    future.set_exception(StoreUnavailable(type(error).__name__))
            raise
        for (_, future), slot in zip(waiting, slots, strict=True):
            if not future.done():  # one that stopped waiting leaves its start unused
                future.set_result(slot)

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
