"""Limit how many calls run at a time, by limits that may change meanwhile, and share the slots among tenants."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from common.worker.concurrency import Origin


class Limits(Protocol):
    """Return how many calls may run; read whenever a slot may be free."""

    @property
    def most(self) -> int:
        """Return how many calls may run at a time."""

    def of_model(self, model: str) -> int:
        """Return how many of them may ask one model."""

    def of_tenant(self, origin: Origin) -> int:
        """Return how many of those may be one tenant's."""


class ResizableSemaphore:
    """Hand out slots. Of those who wait, the tenant with the fewest running calls is next, then who asked first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._running: Counter[Origin] = Counter()
        self._waiting: dict[Origin, deque[tuple[int, asyncio.Future[None]]]] = {}
        self._asked = 0
        self._is_due = False

    @asynccontextmanager
    async def acquire(self, origin: Origin) -> AsyncIterator[None]:
        """Wait for a slot, and hold it for the length of the block."""
        await self._take(origin)
        try:
            yield
        finally:
            self._give_back(origin)

    @property
    def running(self) -> int:
        """Count the slots that are held."""
        return self._running.total()

    async def _take(self, origin: Origin) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._asked += 1
        self._waiting.setdefault(origin, deque()).append((self._asked, turn))
        if not self._is_due:
            # In the next turn of the loop: those that ask at one moment are shared out together, not in their order.
            self._is_due = True
            loop.call_soon(self._hand_out)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # given at the very moment at which we stopped waiting
                self._give_back(origin)
            raise

    def _give_back(self, origin: Origin) -> None:
        self._running[origin] -= 1
        if not self._running[origin]:
            del self._running[origin]
        self._hand_out()

    def _hand_out(self) -> None:
        self._is_due = False
        while (origin := self._next()) is not None:
            _, turn = self._waiting[origin].popleft()
            self._running[origin] += 1
            turn.set_result(None)

    def _next(self) -> Origin | None:
        self._forget_who_left()
        if self._running.total() >= self._limits.most:
            return None
        of_model, of_tenant = Counter[str](), Counter[str]()
        for origin, count in self._running.items():
            of_model[origin.model] += count
            of_tenant[origin.tenant] += count
        free = [
            origin
            for origin in self._waiting
            if of_model[origin.model] < self._limits.of_model(origin.model)
            and self._running[origin] < self._limits.of_tenant(origin)
        ]
        return min(free, key=lambda origin: (of_tenant[origin.tenant], self._waiting[origin][0][0]), default=None)

    def _forget_who_left(self) -> None:
        for origin, turns in list(self._waiting.items()):
            while turns and turns[0][1].done():
                turns.popleft()
            if not turns:
                del self._waiting[origin]
