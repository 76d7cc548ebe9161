"""Track one run of a chain: its checkpointed and running steps, and the task's progress and partial text."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from common.domain.message import TaskMessage
from common.domain.task import Usage
from common.worker.bill import Bill
from common.worker.model_call import ProgressListener
from functions.workflow.chain_tasks import ChainTasks
from functions.workflow.step import Step, digest_of

CUT: Final = "length"
"""The finish reason of an answer that was truncated at its token limit."""


class ChainRun:
    """The state of one attempt of one task."""

    def __init__(
        self,
        message: TaskMessage,
        progress: ProgressListener,
        checkpoints: Mapping[str, str],
        steps: int,
        ends_at: float = math.inf,
    ) -> None:
        """Create the state of an attempt.

        Args:
            message: the task.
            progress: receives the partial text and the progress.
            checkpoints: the completed steps of earlier attempts, encoded, by name.
            steps: the expected number of steps.
            ends_at: the end of the attempt, on the event loop's clock.

        """
        self.message = message
        self.ends_at = ends_at
        self.branches = ChainTasks()
        self._progress = progress
        self._checkpoints = {name: Step.decode(text) for name, text in checkpoints.items()}
        self._steps = steps
        self._occurrences: Counter[str] = Counter()
        self._done: list[Step] = []
        self._running: list[list[str]] = []

    @property
    def owner(self) -> str:
        """Return the owner token of the attempt."""
        return self._progress.owner

    @property
    def bill(self) -> Bill:
        """Return the charges of this attempt that are not booked yet."""
        return self._progress.bill

    @property
    def own_refusals(self) -> int:
        """Return the number of the task's rate limit refusals while other tasks were accepted."""
        return self._progress.own_refusals

    def name(self, request: Mapping[str, Any]) -> str:
        """Return the name of the next call: the digest of its request, and the number of earlier equal calls.

        A repeated chain makes the same calls, but parallel calls may have another order.
        """
        digest = digest_of(request)
        occurrence = self._occurrences[digest]
        self._occurrences[digest] += 1
        return f"{digest}:{occurrence}"

    def checkpointed(self, name: str) -> Step | None:
        """Return the checkpoint of this call from an earlier attempt."""
        step = self._checkpoints.get(name)
        if step is not None:
            self.done(step)
        return step

    @contextmanager
    def running(self) -> Iterator[list[str]]:
        """Show a step's text while it runs; of several parallel steps, the one that started first."""
        texts: list[str] = []
        self._running.append(texts)
        self._show()
        try:
            yield texts
        finally:
            self._running = [other for other in self._running if other is not texts]

    def add(self, texts: list[str], text: str) -> None:
        """Append the next piece of a step's text."""
        texts.append(text)
        if self._running[0] is texts:
            self._progress(text)

    def done(self, step: Step) -> None:
        """Add a completed step, of this attempt or from a checkpoint."""
        self._done.append(step)
        self._show()

    def _show(self) -> None:
        texts = self._running[0] if self._running else []
        self._progress.at_step(len(self._done), self._steps, texts)

    @property
    def finish_reason(self) -> str:
        """Return the finish reason of the task: `length` if its last step was truncated."""
        return CUT if self._done and self._done[-1].finish_reason == CUT else "stop"

    @property
    def usage(self) -> Usage | None:
        """Return the sum of the tokens of all steps, including those of earlier attempts."""
        counted = [step.usage for step in self._done if step.usage is not None]
        if not counted:
            return None
        return Usage(
            sum(usage.prompt_tokens for usage in counted),
            sum(usage.completion_tokens for usage in counted),
            sum(usage.total_tokens for usage in counted),
            sum(usage.cached_tokens for usage in counted),
        )

    @property
    def cost_nanos(self) -> int | None:
        """Return the sum of the costs of all steps; None if one is unknown."""
        costs = [step.cost_nanos for step in self._done]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


_RUN: ContextVar[ChainRun] = ContextVar("run")


@contextmanager
def as_current(run: ChainRun) -> Iterator[None]:
    """Set the current run in this context; tasks that LangChain creates inherit it."""
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


def current_run() -> ChainRun:
    """Return the run of this context; raise LookupError if there is none."""
    return _RUN.get()
