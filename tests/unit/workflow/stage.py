"""Chains on a stage: the real ones, with a fake model, store and schedule, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, override

import httpx2
import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from openai import APIStatusError

from common.flow import NO_LIMIT, Limit
from common.messages import TaskMessage
from common.prices import NO_PRICES
from common.tasks import WORKFLOW_PREFIX, Answer, Task, TaskRef
from common.work.concurrency import Concurrency
from common.work.flow import FlowControl
from common.work.limits import FlowLimits
from common.work.slots import Slots
from functions.workflow.model import Provider, http_client
from functions.workflow.service import Chains
from functions.workflow.workflow import Workflow
from tests.unit.worker.stage import EPOCH_MS, HOUR_MS, FakeFlows
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


class FakeModel:
    """Stand for what LangChain asks over HTTP: each prompt is answered in a second or its own time, or fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.hung_up: list[str] = []
        self.statuses: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.within: Callable[[], Awaitable[None]] | None = None

    async def stream(
        self, _: ChatOpenAI, messages: Sequence[BaseMessage], *__: object, **___: object
    ) -> AsyncIterator[ChatGenerationChunk]:
        prompt = str(messages[0].text).split("\n\n")[-1]
        self.asked.append(prompt)
        try:
            if self.within:
                await self.within()
            if status := self.statuses.get(prompt):
                await asyncio.sleep(FAILS_AFTER)
                response = httpx2.Response(status, request=httpx2.Request("POST", "http://model.test"))
                raise APIStatusError("no", response=response, body=None)
            await asyncio.sleep(self.seconds.get(prompt, CALL_SECONDS))
        except asyncio.CancelledError:
            self.hung_up.append(prompt)
            raise
        self.answered.append(prompt)
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=f"<{prompt}>"), generation_info={"finish_reason": "stop"}
        )


class FakeSteps:
    """Keep the steps of the one task that there is, for its owner."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.owner = ""

    async def steps(self, ref: TaskRef) -> Mapping[str, str]:  # noqa: ARG002  # there is one task
        return dict(self.kept)

    async def checkpoint(self, task: Task, owner: str, name: str, step: str) -> bool:  # noqa: ARG002  # the same
        if owner == self.owner:
            self.kept[name] = step
        return owner == self.owner


class Listener:
    """Be the owner of an attempt, and hear nothing."""

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def __call__(self, text: str) -> None:
        """Take a piece."""

    def at_step(self, done: int, steps: int, texts: Sequence[str] = ()) -> None:
        """Take a step."""


class FakeKey:
    """Have a key."""

    async def __call__(self) -> str:
        return "sk-test"

    async def renewed(self, refused: str) -> bool:  # noqa: ARG002  # it never changes
        return False


class Stage:
    """One environment of the workflow worker; `ask` is one attempt at the one task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner) -> None:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.set_default_executor(AtOnce())
        self.loop = loop
        self.model, self.steps = FakeModel(), FakeSteps()
        self.shared: list[asyncio.Task[None]] = []
        self._runner, self._attempts = runner, 0
        monkeypatch.setattr(ChatOpenAI, "_astream", self._stream)

    @property
    def _stream(self) -> Callable[..., AsyncIterator[ChatGenerationChunk]]:
        model = self.model

        def stream(asked: ChatOpenAI, *args: Any, **params: Any) -> AsyncIterator[ChatGenerationChunk]:  # noqa: ANN401  # as they come
            return model.stream(asked, *args, **params)

        return stream

    def set_up(self, workflow: Workflow[Any], *, concurrency: int = 100, limit: Limit = NO_LIMIT) -> None:
        """Build the workflow, in an environment with these limits."""
        self.flows = FakeFlows(lambda: self.loop.now)
        adaptive = Concurrency(1, concurrency)
        self._provider = Provider(
            checkpoints=self.steps,
            flow=FlowControl(
                self.flows,
                FlowLimits({"gpt-test": limit}),
                now_ms=lambda: EPOCH_MS + round(self.loop.now * 1000),
            ),
            concurrency=adaptive,
            slots=Slots(adaptive),
            prices=NO_PRICES,
            key=FakeKey(),
            base_url="http://model.test",
            timeout_seconds=120,
            model="gpt-test",
            client=http_client(lambda _, __: None),
        )
        self._chains = Chains([workflow], self._provider, self.steps)
        self._name = workflow.name

    def ask(self, *, until: float | None = None, **given: object) -> Answer:
        """Make an attempt, which is cut after so many seconds, and see that nothing of it runs on."""
        self._attempts += 1
        self.steps.owner = f"attempt {self._attempts}"
        ref = TaskRef("acme", "0" * 36, 0)
        task = Task(ref, 1, EPOCH_MS, EPOCH_MS + HOUR_MS, HOUR_MS, WORKFLOW_PREFIX + self._name)
        return self._runner.run(self._ask(TaskMessage(task, [], input=given), until))

    def report(self) -> None:
        """Return what the steps have booked beyond their use."""
        self._runner.run(self._provider.flow.report())

    async def _ask(self, message: TaskMessage, until: float | None) -> Answer:
        try:
            async with asyncio.timeout(until):
                return await self._chains.ask(message, Listener(self.steps.owner))
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task(), *self.shared}
            assert not others, "something runs on behind the attempt"
            self.steps.owner = ""
