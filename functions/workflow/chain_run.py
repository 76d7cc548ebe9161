"""Follow one run of a chain: which steps are kept, which run, and what the task's bar and text show of them."""

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
"""The finish reason of an answer that was cut at its token limit."""


class ChainRun:
    """Hold what belongs to one attempt at one task."""

    def __init__(
        self,
        message: TaskMessage,
        hear: ProgressListener,
        kept: Mapping[str, str],
        steps: int,
        ends_at: float = math.inf,
    ) -> None:
        """Take the task, who hears its text, the steps of former attempts, how many there will be, and when it is cut.

        `ends_at` is a moment of the loop's clock.
        """
        self.message = message
        self.ends_at = ends_at
        self.branches = ChainTasks()
        self._hear = hear
        self._kept = {name: Step.decode(text) for name, text in kept.items()}
        self._steps = steps
        self._asked: Counter[str] = Counter()
        self._done: list[Step] = []
        self._running: list[list[str]] = []

    @property
    def owner(self) -> str:
        """Return the owner token of the attempt."""
        return self._hear.owner

    @property
    def bill(self) -> Bill:
        """Return what the calls of this attempt have cost that is in no sums yet."""
        return self._hear.bill

    @property
    def own_refusals(self) -> int:
        """Return how often the task was refused for its rate while others were let through."""
        return self._hear.own_refusals

    def name(self, request: Mapping[str, Any]) -> str:
        """Name the next call by what it asks, and by how many like it the chain has made before.

        A chain that is run again makes the same calls; those that run side by side may come in another order.
        """
        digest = digest_of(request)
        occurrence = self._asked[digest]
        self._asked[digest] += 1
        return f"{digest}:{occurrence}"

    def checkpointed(self, name: str) -> Step | None:
        """Return the answer that a former attempt has had to this call."""
        step = self._kept.get(name)
        if step is not None:
            self.done(step)
        return step

    @contextmanager
    def running(self) -> Iterator[list[str]]:
        """Show a step while it runs; of several at a time the one that began first."""
        texts: list[str] = []
        self._running.append(texts)
        self._show()
        try:
            yield texts
        finally:
            self._running = [other for other in self._running if other is not texts]

    def add(self, texts: list[str], text: str) -> None:
        """Take the next piece of a step's text."""
        texts.append(text)
        if self._running[0] is texts:
            self._hear(text)

    def done(self, step: Step) -> None:
        """Note a step that has its answer, made by this attempt or kept."""
        self._done.append(step)
        self._show()

    def _show(self) -> None:
        texts = self._running[0] if self._running else []
        self._hear.at_step(len(self._done), self._steps, texts)

    @property
    def finish_reason(self) -> str:
        """Say whether the answer is whole: it is cut where its last step is."""
        return CUT if self._done and self._done[-1].finish_reason == CUT else "stop"

    @property
    def usage(self) -> Usage | None:
        """Add up the tokens of all steps, also of those that former attempts have paid."""
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
        """Add up what the steps have cost; None where that of one is not known."""
        costs = [step.cost_nanos for step in self._done]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


_RUN: ContextVar[ChainRun] = ContextVar("run")


@contextmanager
def as_current(run: ChainRun) -> Iterator[None]:
    """Make a run known to all that it calls; LangChain's own tasks inherit it."""
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


def current_run() -> ChainRun:
    """Return the run that this call belongs to; raise LookupError where there is none."""
    return _RUN.get()
