"""Define the exact moments at which a fault occurs."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

type Deed = Callable[[], Any]
"""What happens at a moment; it may be a coroutine function."""


class Moment:
    """Hold whoever comes until the n-th has, then do the deed, once, and let all of them go.

    All n of them are then known to be at the same place: a kill at this moment finds n tasks there, not one here and
    two somewhere near. `again` repeats it so many times.
    """

    def __init__(self, nth: int, deed: Deed, again: int = 0) -> None:
        self._nth = nth
        self._deed = deed
        self._left = nth * (1 + again)
        self._over = asyncio.Event()
        self._happened = asyncio.Event()
        self._striking: asyncio.Task[None] | None = None

    async def arrive(self, together: int = 1) -> bool:
        """Wait for the deed, and tell whether this one was held for it; who comes later passes.

        `together` come at one time, as the requests of a pipeline do.
        """
        if not self._left:
            return False
        rounds = math.ceil(self._left / self._nth)
        self._left -= together
        over = self._over
        if math.ceil(self._left / self._nth) < rounds:
            self._over = asyncio.Event()
            # A task of its own: a deed that kills a client cancels the server's work for it, and that may be us.
            self._striking = asyncio.create_task(self._strike(over))
        await over.wait()
        return True

    async def _strike(self, over: asyncio.Event) -> None:
        outcome = self._deed()
        if asyncio.iscoroutine(outcome):
            await outcome
        over.set()
        if not self._left:
            self._happened.set()

    @property
    def has_struck(self) -> bool:
        """Tell whether it has happened, as often as it should."""
        return self._happened.is_set()

    async def wait(self) -> None:
        """Wait until it has happened, and every repeat of it too."""
        await self._happened.wait()
