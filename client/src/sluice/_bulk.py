"""Submit any number of prompts in chunks, with a bounded number in flight."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sluice._api import ApiCalls
from sluice._exceptions import (
    ProblemError,
    ServiceError,
    ServiceUnreachableError,
    SluiceError,
    UnreadableAnswerError,
)
from sluice._models import Submission, Task
from sluice._operations import Iteration, Operation, YieldItem
from sluice._polling import HOLD_SECONDS, OnPoll, Poller
from sluice._retries import is_transient

RESEND_SECONDS: Final = 2.0
"""How long to wait before a chunk is sent again after a transient refusal, in seconds."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The prompts of one call; `first` is the index of its first prompt in the whole run.

    A chunk with a `batch_id` was accepted before: its tasks are only waited for, except the indexes in `done`.
    """

    first: int
    prompts: Sequence[Any] = field(repr=False)
    key: str
    batch_id: str | None = None
    done: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prompt whose task has ended: its index in your input, the prompt, and the task."""

    index: int
    prompt: Any = field(repr=False)
    task: Task


type NextChunk = Callable[[], Operation[Chunk | None]]
type OnAccepted = Callable[[Chunk, Submission], None]
type OnSubmit = Callable[[Submission], None]


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """The source of the chunks, the options of each call, the limits, and the callbacks."""

    next_chunk: NextChunk
    options: Mapping[str, Any]
    in_flight: int
    ordered: bool
    on_accepted: OnAccepted | None = None
    on_poll: OnPoll | None = None
    hold: float = HOLD_SECONDS


class BulkRun:
    """Execute a plan once."""

    def __init__(self, calls: ApiCalls, plan: BulkPlan) -> None:
        self._calls = calls
        self._plan = plan
        self._poller = Poller(calls, on_poll=plan.on_poll)
        self._chunk: Chunk | None = None
        """The chunk that is next to send."""
        self._is_over = False
        self._not_before = 0.0
        self._places: dict[str, tuple[int, Any]] = {}
        """Index and prompt of each pending task, by its ID."""
        self._order: deque[int] = deque()
        self._ready: dict[int, Outcome] = {}
        """Ended outcomes that wait for earlier ones."""
        self.is_sending = False
        """True while the service may have accepted the current chunk and its IDs have not arrived."""

    @property
    def batches_under_way(self) -> list[str]:
        """Return the IDs of the batches with pending tasks, oldest first."""
        return list(dict.fromkeys(task_id.rpartition("-")[0] for task_id in self._places))

    def outcomes(self) -> Iteration[Outcome]:
        """Yield each outcome, in the order of the prompts or as tasks end.

        At most `in_flight` prompts are submitted and not yet yielded.
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
        """Remove and return the outcomes that may be yielded now."""
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
        """Send the next chunk if there is one and it fits; return True if another may follow."""
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
            self._not_before = self._calls.clock() + max(retry_after or 0, RESEND_SECONDS)
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
        # With pending tasks a transient refusal must not delay their results, so this request is not retried here.
        calls = replace(self._calls, patience=0) if self._places else self._calls
        operation = calls.submit(chunk.prompts, idempotency_key=chunk.key, **self._plan.options)
        self.is_sending = True
        try:
            submission = yield from operation
        except Exception as error:
            # Without a readable response, or after a server error, the service may still have accepted the request.
            self.is_sending = isinstance(error, ServiceUnreachableError | ServiceError | UnreadableAnswerError)
            raise
        self.is_sending = False
        if self._plan.on_accepted:
            self._plan.on_accepted(chunk, submission)
        if len(set(submission.task_ids)) != len(chunk.prompts):
            raise UnreadableAnswerError("The response does not have one ID for each prompt. Check the URL.")
        return submission.task_ids
