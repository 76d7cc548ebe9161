"""Poll many tasks with few requests."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import batched
from typing import Final

from sluice._api import MAX_IDS_PER_REQUEST, ApiCalls, PollResult
from sluice._exceptions import UnreadableAnswerError
from sluice._models import Task, TaskStatus
from sluice._operations import Operation, Sleep
from sluice._retries import MIN_SECONDS

HOLD_SECONDS: Final = 20.0
"""How long the service may hold a request, in seconds: it allows 25, and proxies often end longer requests."""
HOLD_MANY_SECONDS: Final = 2.0
"""The same for a request about some of the tasks, because the others may end in the meantime."""
POLL_SECONDS: Final = 0.25
"""Minimum time between two rounds after a round with ended tasks: tasks end in quick succession."""
MAX_POLL_SECONDS: Final = 1.0
FIELDS: Final = tuple(sorted(Task.api_fields() - {"task_id", "status", "partial_result", "response"}))
"""The fields to ask for: all but the partial text, which each poll would repeat; the API always sends ID and status."""


@dataclass(frozen=True, slots=True)
class PendingProgress:
    """The state of the tasks that have not ended; `progress` is the sum of their percentages."""

    processing: int
    queued: int
    progress: int


type OnPoll = Callable[[PendingProgress], None]


class Poller:
    """Hold the tasks that have not ended, oldest first, and poll them."""

    def __init__(self, calls: ApiCalls, task_ids: Iterable[str] = (), *, on_poll: OnPoll | None = None) -> None:
        self.pending = dict.fromkeys(task_ids)
        self._calls = calls
        self._on_poll = on_poll
        self._not_before = calls.clock()

    def poll(self, hold: float = HOLD_SECONDS) -> Operation[list[Task]]:
        """Return and remove the tasks that have ended since the last poll; [] if none did within `hold` seconds.

        If all IDs fit into one request, the service holds it until one task ends. Otherwise each request returns at
        once, and if no task has ended, the first one is repeated with a hold.

        Raises:
            UnreadableAnswerError: the response is about other tasks; waiting for these would never end.

        """
        yield from self._wait_between_polls()
        started = self._calls.clock()
        windows = list(batched(self.pending, MAX_IDS_PER_REQUEST))
        seen: list[Task] = []
        if len(windows) > 1:
            for window in windows:
                seen.extend((yield from self._poll_ids(window)).tasks)
        if windows and not any(task.has_ended for task in seen):
            most = hold if len(windows) == 1 else min(hold, HOLD_MANY_SECONDS)
            result = yield from self._poll_ids(windows[0], most)
            seen = [*result.tasks, *seen[len(result.tasks) :]]
            if not result.held and not any(task.has_ended for task in result.tasks):
                # Not longer than the caller's timeout, which limits `most`.
                yield Sleep(min(max(MIN_SECONDS, result.retry_after or 0), most or MIN_SECONDS))
        ended = [task for task in seen if task.has_ended]
        for task in ended:
            del self.pending[task.task_id]
        self._report_progress([task for task in seen if not task.has_ended])
        self._not_before = started + (min(POLL_SECONDS * len(windows), MAX_POLL_SECONDS) if ended else MIN_SECONDS)
        return ended

    def _poll_ids(self, window: tuple[str, ...], hold: float = 0) -> Operation[PollResult]:
        result = yield from self._calls.poll(window, hold=hold, fields=FIELDS)
        if tuple(task.task_id for task in result.tasks) != window:
            raise UnreadableAnswerError("The response is about other tasks than those requested. Check the IDs.")
        return result

    def _wait_between_polls(self) -> Operation[None]:
        early = self._not_before - self._calls.clock()
        if early > 0 and self.pending:
            yield Sleep(early)

    def _report_progress(self, tasks: list[Task]) -> None:
        if self._on_poll:
            processing = sum(task.status is TaskStatus.PROCESSING for task in tasks)
            self._on_poll(PendingProgress(processing, len(tasks) - processing, sum(task.progress for task in tasks)))
