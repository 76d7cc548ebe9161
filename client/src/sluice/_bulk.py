"""Send any number of prompts, a chunk at a time, with no more than so many under way."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sluice._api import ApiCalls
from sluice._exceptions import ProblemError, SluiceError
from sluice._models import Submission, Task
from sluice._operations import Iteration, Operation, YieldItem
from sluice._polling import HOLD_SECONDS, OnPoll, Poller
from sluice._retries import is_transient

RESEND_SECONDS: Final = 2.0
"""After how long to send again what was refused for the moment, while other tasks are waited for."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Prompts for one call; `first` is the place of the first of them in the whole.

    With a `batch_id` they were accepted before and are only waited for. Those in `done`, places in the whole, are not.
    """

    first: int
    prompts: Sequence[Any] = field(repr=False)
    key: str
    batch_id: str | None = None
    done: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prompt that has ended: its place in what you gave, the prompt, and its task."""

    index: int
    prompt: Any = field(repr=False)
    task: Task


type NextChunk = Callable[[], Operation[Chunk | None]]
type OnAccepted = Callable[[Chunk, Submission], None]
type OnSubmit = Callable[[Submission], None]


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """Where the chunks come from, what is said with each, how many go at a time, and who is told of what."""

    next_chunk: NextChunk
    options: Mapping[str, Any]
    in_flight: int
    ordered: bool
    on_accepted: OnAccepted | None = None
    on_poll: OnPoll | None = None
    hold: float = HOLD_SECONDS


class BulkRun:
    """One going-through of a plan."""

    def __init__(self, calls: ApiCalls, plan: BulkPlan) -> None:
        self._calls = calls
        self._plan = plan
        self._poller = Poller(calls, on_poll=plan.on_poll)
        self._chunk: Chunk | None = None
        """Taken, and not yet sent."""
        self._is_over = False
        self._not_before = 0.0
        self._places: dict[str, tuple[int, Any]] = {}
        """The prompts that are waited for, by the ids of their tasks."""
        self._order: deque[int] = deque()
        self._ready: dict[int, Outcome] = {}
        """Ended, and not yet yielded: others come before them."""

    def outcomes(self) -> Iteration[Outcome]:
        """Yield each outcome, in the order of the prompts or as they come.

        No more than `in_flight` prompts are under way: sent, and not yet yielded.
        """
        while True:
            while (yield from self._send_one()):
                pass
            if not self._places:
                return
            hold = min(self._plan.hold, RESEND_SECONDS) if self._chunk and self._fits(self._chunk) else self._plan.hold
            for task in (yield from self._poller.poll(hold)):
                place, prompt = self._places.pop(task.task_id)
                self._ready[place] = Outcome(place, prompt, task)
            for outcome in self._next_ones():
                yield YieldItem(outcome)

    def _next_ones(self) -> list[Outcome]:
        """Take out what may be yielded now."""
        if not self._plan.ordered:
            outcomes = list(self._ready.values())
            self._ready.clear()
            return outcomes
        outcomes = []
        while self._order and self._order[0] in self._ready:
            outcomes.append(self._ready.pop(self._order.popleft()))
        return outcomes

    @property
    def _under_way(self) -> int:
        return len(self._places) + len(self._ready)

    def _fits(self, chunk: Chunk) -> bool:
        return not self._under_way or self._under_way + len(chunk.prompts) <= self._plan.in_flight

    def _send_one(self) -> Operation[bool]:
        """Send the next chunk if there is one and room for it, and tell whether to try another."""
        if self._chunk is None and not self._is_over and self._under_way < self._plan.in_flight:
            self._chunk = yield from self._plan.next_chunk()
            self._is_over = self._chunk is None
        chunk = self._chunk
        if chunk is None or not self._fits(chunk) or (self._places and self._calls.clock() < self._not_before):
            return False
        try:
            ids = yield from self._ids_of(chunk)
        except SluiceError as error:
            if not self._places or not is_transient(error):
                raise
            retry_after = error.retry_after if isinstance(error, ProblemError) else None
            self._not_before = self._calls.clock() + (retry_after or RESEND_SECONDS)
            return False
        self._chunk = None
        for place, (task_id, prompt) in enumerate(zip(ids, chunk.prompts, strict=True), chunk.first):
            if place not in chunk.done:
                self._places[task_id] = (place, prompt)
                self._poller.pending[task_id] = None
                if self._plan.ordered:
                    self._order.append(place)
        return True

    def _ids_of(self, chunk: Chunk) -> Operation[Sequence[str]]:
        if chunk.batch_id is not None:
            return [f"{chunk.batch_id}-{place}" for place in range(len(chunk.prompts))]
        # While others are waited for, a refusal for the moment must not keep their answers.
        calls = replace(self._calls, patience=0) if self._places else self._calls
        submission = yield from calls.submit(chunk.prompts, idempotency_key=chunk.key, **self._plan.options)
        if self._plan.on_accepted:
            self._plan.on_accepted(chunk, submission)
        return submission.task_ids
