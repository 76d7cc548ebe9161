"""Run real chains with a fake model, store and schedule, in virtual time."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, override

from common.domain.errors import StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.rate_limits import NO_LIMIT, Limit
from common.domain.request import Kind
from common.domain.spending import NO_CHARGE
from common.domain.task import Answer, Task, TaskRef
from common.domain.transitions import KeptStep
from common.worker.bill import Bill
from common.worker.billing import Billing
from common.worker.concurrency import AdaptiveConcurrency
from common.worker.limits import RateLimitSettings
from common.worker.provider_errors import classify
from common.worker.provider_model import ProviderModel
from common.worker.rate_limiter import RateLimiter
from common.worker.semaphore import ResizableSemaphore
from functions.workflow.model import Provider
from functions.workflow.service import WorkflowModel
from functions.workflow.workflow import Workflow
from tests.requests import messages_of, workflow
from tests.unit.worker.stage import EPOCH_MS, HOUR_MS, PRICES, FakeFlows
from tests.unit.worker.virtual_time import VirtualTimeLoop

CALL_SECONDS = 1.0
FAILS_AFTER = 0.5


class AtOnce(ThreadPoolExecutor):
    """Run what LangChain hands to threads where it stands: virtual time does not wait for them."""

    @override
    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # as an executor does
            future.set_exception(error)
        return future


class FakeModel(ProviderModel):
    """Answer each prompt in a second or in its own time, or fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.hung_up: list[str] = []
        self.statuses: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.messages: list[TaskMessage] = []
        self.within: Callable[[], Awaitable[None]] | None = None

    @override
    async def ask(self, message: TaskMessage, on_text: Callable[[str], None], *, ends_at: float = math.inf) -> Answer:
        prompt = str(messages_of(message)[0]["content"]).split("\n\n")[-1]
        self.asked.append(prompt)
        self.messages.append(message)
        try:
            if self.within:
                await self.within()
            if status := self.statuses.get(prompt):
                await asyncio.sleep(FAILS_AFTER)
                raise classify(status, {}, (), datetime.now(UTC))
            await asyncio.sleep(self.seconds.get(prompt, CALL_SECONDS))
        except asyncio.CancelledError:
            self.hung_up.append(prompt)
            raise
        self.answered.append(prompt)
        text = self.texts.get(prompt, f"<{prompt}>")
        on_text(text)
        return Answer(text, "stop")


class FakeSteps:
    """Keep the steps of the one task that there is, for its owner."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.booked = NO_CHARGE
        self.owner = ""
        self.is_down = False

    async def steps(self, ref: TaskRef) -> Mapping[str, str]:  # noqa: ARG002  # there is one task
        return dict(self.kept)

    async def checkpoint(self, task: Task, owner: str, kept: KeptStep) -> bool:  # noqa: ARG002  # the same
        if self.is_down:
            raise StoreUnavailable
        if owner == self.owner:
            self.kept[kept.name] = kept.text
            self.booked += kept.charge
        return owner == self.owner


class Listener:
    """Be the owner of an attempt, and hear nothing."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.bill = Bill()
        self.own_refusals = 0

    def __call__(self, text: str) -> None:
        """Take a piece."""

    def at_step(self, done: int, steps: int, texts: Sequence[str] = ()) -> None:
        """Take a step."""


class Stage:
    """One environment of the workflow worker; `ask` is one attempt at the one task."""

    def __init__(self, runner: asyncio.Runner) -> None:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.set_default_executor(AtOnce())
        self.loop = loop
        self.model, self.steps = FakeModel(), FakeSteps()
        self.shared: list[asyncio.Task[None]] = []
        self._runner, self._attempts = runner, 0

    def set_up(self, workflow: Workflow[Any], *, concurrency: int = 100, limit: Limit = NO_LIMIT) -> None:
        """Build the workflow, in an environment with these limits."""
        self.flows = FakeFlows(lambda: self.loop.now)
        adaptive = AdaptiveConcurrency(1, concurrency)
        self._provider = Provider(
            checkpoints=self.steps,
            flow=RateLimiter(
                self.flows,
                RateLimitSettings({"gpt-test": limit}),
                now_ms=lambda: EPOCH_MS + round(self.loop.now * 1000),
            ),
            concurrency=adaptive,
            slots=ResizableSemaphore(adaptive),
            chat_model=self.model,
            billing=Billing(PRICES),
            timeout_seconds=120,
            model="gpt-test",
        )
        self._chains = WorkflowModel([workflow], self._provider, self.steps)
        self._name = workflow.name

    def ask(self, *, until: float | None = None, **given: object) -> Answer:
        """Make an attempt, which is cut after so many seconds, and see that nothing of it runs on."""
        self._attempts += 1
        self.steps.owner = f"attempt {self._attempts}"
        ref = TaskRef("acme", "0" * 36, 0)
        task = Task(
            ref=ref,
            batch_size=1,
            created_ms=EPOCH_MS,
            deadline_ms=EPOCH_MS + HOUR_MS,
            retention_ms=HOUR_MS,
            model=self._name,
            kind=Kind.WORKFLOW,
        )
        return self._runner.run(self._ask(TaskMessage(task, workflow(given)), until))

    def report(self) -> None:
        """Return what the steps have booked beyond their use."""
        self._runner.run(self._provider.flow.report())

    async def _ask(self, message: TaskMessage, until: float | None) -> Answer:
        try:
            async with asyncio.timeout(until):
                self.listener = Listener(self.steps.owner)
                return await self._chains.ask(message, self.listener)
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task(), *self.shared}
            assert not others, "something runs on behind the attempt"
            self.steps.owner = ""
