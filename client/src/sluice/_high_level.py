"""Operations of several calls: wait, follow a stream, submit more prompts than one call takes."""

import math
from collections.abc import AsyncIterable, Mapping
from itertools import count
from typing import Any, Final, Unpack
from uuid import uuid4

from sluice._api import ApiCalls
from sluice._bulk import BulkPlan, BulkRun, Chunk, OnAccepted, OnSubmit, Outcome
from sluice._events import Ended, Event, read_events
from sluice._exceptions import WaitTimeoutError
from sluice._ids import TaskIds, ids_in, segment
from sluice._interrupts import name_batches_on_interrupt
from sluice._models import Task
from sluice._operations import Iteration, Operation, Request, Sleep, TakeItems, YieldItem
from sluice._options import CallOptions
from sluice._polling import HOLD_SECONDS, OnPoll, Poller
from sluice._prompts import Items, Prompt, Prompts, require_collection
from sluice._retries import MIN_SECONDS

CHUNK_SIZE: Final = 100
"""Prompts in one call of `map`: few enough for early first results, many enough to save requests."""
IN_FLIGHT: Final = 1_000
"""Prompts of `map` in flight at a time."""
_NO_CONTENT: Final = 204


class HighLevelCalls(ApiCalls):
    """Add the operations of several calls."""

    __slots__ = ()

    def wait(self, tasks: TaskIds, *, timeout: float | None = None) -> Operation[list[Task]]:
        """Wait until all tasks have ended; see Sluice.wait."""
        asked = ids_in(tasks)
        poller, end = Poller(self, asked), self._end(timeout)
        found: dict[str, Task] = {}
        while poller.pending:
            found.update((task.task_id, task) for task in (yield from self._next_ended(poller, timeout, end)))
        return [found[task_id] for task_id in asked]

    def as_completed(self, tasks: TaskIds, *, timeout: float | None = None) -> Iteration[Task]:
        """Yield each task when it has ended; see Sluice.as_completed."""
        poller, end = Poller(self, ids_in(tasks)), self._end(timeout)
        while poller.pending:
            for task in (yield from self._next_ended(poller, timeout, end)):
                yield YieldItem(task)

    def _end(self, timeout: float | None) -> float:
        return math.inf if timeout is None else self.clock() + timeout

    def _next_ended(self, poller: Poller, timeout: float | None, end: float) -> Operation[list[Task]]:
        left = end - self.clock()
        if timeout is not None and left <= 0:
            raise WaitTimeoutError(timeout, tuple(poller.pending))
        return poller.poll(min(HOLD_SECONDS, left))

    def stream(self, task_id: str, *, after: str | None = None) -> Iteration[Event]:
        """Follow a task's text until it ends; see Sluice.stream."""
        path = f"/tasks/{segment(task_id)}/stream"
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
            started = self.clock()
            answer = yield from self.call(Request("GET", path, headers=headers, hold=HOLD_SECONDS))
            if answer.status == _NO_CONTENT:
                return
            events, retry_seconds = read_events(answer.body)
            for event in events:
                yield YieldItem(event)
                after = event.id
                if isinstance(event, Ended):
                    return
            # A service that answers at once without news must not be asked in a tight loop.
            early = 0 if events else started + MIN_SECONDS - self.clock()
            yield Sleep(max(retry_seconds, early))

    def map(  # noqa: PLR0913 - each by name
        self,
        prompts: Prompts | AsyncIterable[Prompt],
        *,
        chunk_size: int = CHUNK_SIZE,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        idempotency_key: str | None = None,
        on_submit: OnSubmit | None = None,
        **options: Unpack[CallOptions],
    ) -> Iteration[Outcome]:
        """Submit any number of prompts and yield each outcome; see Sluice.map."""
        require_collection(prompts, "prompts", "map([prompt])")
        if not 1 <= chunk_size <= in_flight:
            raise ValueError("chunk_size must be at least 1, and in_flight at least chunk_size")
        source = aiter(prompts) if isinstance(prompts, AsyncIterable) else iter(prompts)
        key, firsts = idempotency_key or uuid4().hex, count(0, chunk_size)

        def next_chunk() -> Operation[Chunk | None]:
            taken = yield TakeItems(source, chunk_size)
            first = next(firsts)
            return Chunk(first, taken, f"{key}-{first}") if taken else None

        accepted = (lambda _, submission: on_submit(submission)) if on_submit else None
        run = BulkRun(self, BulkPlan(next_chunk, options, in_flight, ordered, accepted))
        return name_batches_on_interrupt(run, key)

    def run(  # noqa: PLR0913 - each by name
        self,
        chunks: Items[Chunk],
        options: Mapping[str, Any],
        *,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        on_accepted: OnAccepted | None = None,
        on_poll: OnPoll | None = None,
        hold: float = HOLD_SECONDS,
    ) -> Iteration[Outcome]:
        """Submit prepared chunks; see Sluice.run."""
        source = iter(chunks)

        def next_chunk() -> Operation[Chunk | None]:
            taken: list[Chunk] = yield TakeItems(source, 1)
            return taken[0] if taken else None

        return BulkRun(self, BulkPlan(next_chunk, options, in_flight, ordered, on_accepted, on_poll, hold)).outcomes()
