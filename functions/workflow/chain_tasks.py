"""End all tasks of a chain with it, and store the answers of its paid calls.

LangChain runs parallel branches with asyncio.gather: it raises the first exception, while the other branches keep
running unobserved.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from common.domain.errors import CallHeld, ModelBusy, ModelFailed, ModelRefused, Unavailable

_CHAIN: ContextVar["ChainTasks | None"] = ContextVar("chain", default=None)
"""The chain of the current task; asyncio copies it to every task that a task creates."""


class ChainTasks:
    """The tasks of one run of a chain, and those of them that make a model call."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[Any], bool] = {}
        self._is_over = False
        self._failed: ModelFailed | None = None

    @asynccontextmanager
    async def ended(self) -> AsyncIterator[None]:
        """Run the chain in this block; at its end none of its tasks runs.

        Raises:
            ModelFailed: replaces an exception that does not count as an attempt, if another call of the chain failed.
                Otherwise a task could be paid for and redelivered without limit.

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
        """Register the current task as a call in this block. Tasks that it starts, as for connections, are excluded."""
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
        """Mark the current call as started: it has a slot, and waits for its start time or is running."""
        self._calls[_current_task()] = True

    async def _finish_calls(self) -> None:
        """Await the calls that have started, and start no others.

        A call that waits for its start time counts as started, because its reservation would be lost. If all calls gave
        up their reservations, a chain with more steps than reservations would never make progress.
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
