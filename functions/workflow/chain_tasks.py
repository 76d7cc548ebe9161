"""Leave nothing of a chain running behind it, and keep the answers that it has paid for.

Where a chain has branches, LangChain runs them with asyncio.gather: the first exception goes up, and the other branches
run on with nobody to hear them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from common.domain.errors import CallHeld, ModelBusy, ModelFailed, ModelRefused, Unavailable

_CHAIN: ContextVar["ChainTasks | None"] = ContextVar("chain", default=None)
"""Whose task this is: asyncio hands it on to every task that a task makes."""


class ChainTasks:
    """Know the tasks of one run of a chain, and which of them make a model call."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[Any], bool] = {}
        self._is_over = False
        self._failed: ModelFailed | None = None

    @asynccontextmanager
    async def ended(self) -> AsyncIterator[None]:
        """Run the chain in this block; nothing of it runs on behind it.

        Raises:
            ModelFailed: instead of what the chain raised, where that would cost no attempt, but another call was made
                and brought nothing: a task that may be paid for without end must not come back without end.

        """
        token = _CHAIN.set(self)
        try:
            yield
        except (CallHeld, ModelBusy, ModelFailed, Unavailable) as error:
            await self._finish_calls()
            raise (self._failed or error) from None
        finally:
            _CHAIN.reset(token)
            await self._stop()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count the current task as a call, in this block. What it starts there, as connections, is not the chain's."""
        if self._is_over:
            raise asyncio.CancelledError
        task = _current_task()
        self._calls[task] = False
        token = _CHAIN.set(None)
        try:
            yield
        except ModelFailed as failed:
            self._failed = self._failed or failed
            raise
        except ModelRefused as refused:
            if self._failed is None:
                self._failed = ModelFailed(refused.code)
                self._failed.provider_error = refused.provider_error
            raise
        finally:
            _CHAIN.reset(token)
            del self._calls[task]

    def mark_started(self) -> None:
        """Say that the current call has its turn here, and so stands in the line for a start, or is made."""
        self._calls[_current_task()] = True

    async def _finish_calls(self) -> None:
        """Await the calls that have begun, and let none begin.

        A call in the line is as one that has begun: its start is booked, and would go unused. If all gave theirs up, a
        chain whose steps exceed what may be booked at a time would never get any further.
        """
        self._is_over = True
        for task, has_slot in self._calls.items():
            if not has_slot:
                task.cancel()
        begun = [task for task, has_slot in self._calls.items() if has_slot]
        if begun:
            await asyncio.wait(begun)

    async def _stop(self) -> None:
        self._is_over = True
        while tasks := [task for task in asyncio.all_tasks() if self._has(task)]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _has(self, task: asyncio.Task[Any]) -> bool:
        return task in self._calls or task.get_context().get(_CHAIN) is self


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError
    return task
