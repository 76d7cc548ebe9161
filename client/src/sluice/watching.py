"""Wait for many tasks with few questions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import batched
from typing import Final

from sluice.answers import Task, TaskStatus
from sluice.core import WINDOW, Core, Look
from sluice.effects import Operation, Sleep
from sluice.errors import UnreadableAnswerError

HOLD_SECONDS: Final = 20.0
"""For how long the service may keep a question: it allows 25, and proxies on the way like to end what lasts longer."""
HOLD_MANY_SECONDS: Final = 2.0
"""The same where the question is about some of the tasks, and the others may end meanwhile."""
PACE_SECONDS: Final = 0.25
"""The shortest time between two rounds after one that brought something: tasks end in quick succession."""
MOST_PACE_SECONDS: Final = 1.0
UNHELD_SECONDS: Final = 1.0
"""A pause where the service did not hold the question and says nothing of when to come again."""
FIELDS: Final = (
    *("attempts", "batch_id", "cost", "created_at", "custom_id", "deadline_at", "ended_at", "error", "expires_at"),
    *("finish_reason", "model", "progress", "result", "started_at", "tool_calls", "truncated", "usage", "waiting_on"),
)
"""All but the text so far, which would come again with each look."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How what has not ended stood when it was last seen; `progress` is the sum of their percents."""

    running: int
    queued: int
    progress: int


type OnLook = Callable[[Standing], None]


class Watch:
    """Tasks that have not ended, oldest first, as far as is known."""

    def __init__(self, core: Core, task_ids: Iterable[str] = (), *, on_look: OnLook | None = None) -> None:
        self.pending = dict.fromkeys(task_ids)
        self._core = core
        self._on_look = on_look
        self._not_before = core.clock()

    def look(self, hold: float = HOLD_SECONDS) -> Operation[list[Task]]:
        """Return those that have ended since the last time, and forget them; none when `hold` seconds brought none.

        One question where all fit into one, held until any of them ends. Else a round of questions that are not held,
        and where that brings nothing, one that is.

        Raises:
            UnreadableAnswerError: the service speaks of other tasks, so that these would be waited for without end.

        """
        yield from self._keep_pace()
        started = self._core.clock()
        windows = list(batched(self.pending, WINDOW))
        seen: list[Task] = []
        if len(windows) > 1:
            for window in windows:
                seen.extend((yield from self._ask(window)).tasks)
        if windows and not any(task.has_ended for task in seen):
            most = hold if len(windows) == 1 else min(hold, HOLD_MANY_SECONDS)
            look = yield from self._ask(windows[0], most)
            seen = [*look.tasks, *seen[len(look.tasks) :]]
            if not look.held and not any(task.has_ended for task in look.tasks):
                yield Sleep(min(look.retry_after or UNHELD_SECONDS, most or UNHELD_SECONDS))
        ended = [task for task in seen if task.has_ended]
        for task in ended:
            del self.pending[task.task_id]
        self._tell([task for task in seen if not task.has_ended])
        self._not_before = started + (min(PACE_SECONDS * len(windows), MOST_PACE_SECONDS) if ended else 0)
        return ended

    def _ask(self, window: tuple[str, ...], hold: float = 0) -> Operation[Look]:
        look = yield from self._core.look(window, hold=hold, fields=FIELDS)
        if tuple(task.task_id for task in look.tasks) != window:
            raise UnreadableAnswerError("The service speaks of other tasks than it was asked about: are the ids right?")
        return look

    def _keep_pace(self) -> Operation[None]:
        early = self._not_before - self._core.clock()
        if early > 0 and self.pending:
            yield Sleep(early)

    def _tell(self, tasks: list[Task]) -> None:
        if self._on_look:
            running = sum(task.status is TaskStatus.PROCESSING for task in tasks)
            self._on_look(Standing(running, len(tasks) - running, sum(task.progress for task in tasks)))
