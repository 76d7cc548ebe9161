"""Run several worker environments on one queue in virtual time, with their real code and real scripts."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, cast

from redis import Redis

from common.domain.errors import ModelBusy
from common.domain.message import TaskMessage
from common.domain.task import Answer, FailureCode, Task, TaskRecord, TaskRef
from common.store import RateLimitStore
from common.store.scripts import Scripts
from common.worker.attempt import AttemptRunner
from common.worker.backoff import Backoff
from common.worker.concurrency import AdaptiveConcurrency
from common.worker.deadlines import CallDurationEstimator, margin_of
from common.worker.limits import RateLimitSettings
from common.worker.message import ReceivedMessage
from common.worker.model_call import ModelCaller
from common.worker.progress import ProgressReporter
from common.worker.rate_limiter import RateLimiter
from common.worker.runner import BatchRunner
from common.worker.tenant_concurrency import TenantConcurrency
from tests.fakes import FakeStore
from tests.integration.store.harness import CLOCK_KEY, START_MS, scripts_on_test_time
from tests.requests import chat, messages_of
from tests.unit.worker.stage import LEASE_SECONDS, FakeJournal
from tests.unit.worker.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from common.store.client import Client

TIMEOUT = 300.0
BATCH = 10
DAY_MS = 86_400_000

type Asked = Callable[[str], Awaitable[Answer]]


def now() -> float:
    return asyncio.get_running_loop().time()


def now_ms() -> int:
    return START_MS + round(now() * 1000)


@dataclass(eq=False)  # a client is known by itself
class Wire:
    """Stand for the client of one environment: each command takes a moment of virtual time."""

    redis: Redis
    latency: Callable[[], float]

    async def execute_command(self, *command: Any) -> Any:  # noqa: ANN401  as the client's
        await asyncio.sleep(self.latency())
        self.redis.set(CLOCK_KEY, now_ms())
        answer = self.redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's
        await asyncio.sleep(self.latency())
        return answer


@dataclass
class Queue:
    """Hold messages until they are visible."""

    _messages: list[tuple[float, int, ReceivedMessage]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, delivery: ReceivedMessage, seconds: float = 0.0) -> None:
        heapq.heappush(self._messages, (now() + seconds, next(self._order), delivery))
        self._changed.set()

    async def return_messages(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        for delivery, seconds in waits:
            self.send(replace(delivery, receives=delivery.receives + 1), seconds)

    async def extend_visibility(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        """Do nothing: a message that was received stays hidden until it is put back."""

    async def resend(
        self, waits: Sequence[tuple[ReceivedMessage, str, float]], on_sent: Callable[[ReceivedMessage], None]
    ) -> None:
        for delivery, _, seconds in waits:
            self.send(replace(delivery, receives=1), seconds)
            on_sent(delivery)

    async def receive(self) -> list[ReceivedMessage]:
        """Wait until messages are visible, and take them."""
        while not self._messages or self._messages[0][0] > now():
            self._changed.clear()
            until = self._messages[0][0] if self._messages else None
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                continue
        taken: list[ReceivedMessage] = []
        while self._messages and self._messages[0][0] <= now() and len(taken) < BATCH:
            taken.append(heapq.heappop(self._messages)[2])
        return taken


@dataclass
class Provider:
    """Answer in a second what `limits` lets through, and note when each prompt was asked."""

    limits: Callable[[str], bool]
    calls: dict[str, list[float]] = field(default_factory=dict)
    refused: int = 0

    async def prepare(self) -> None:
        """Have a key."""

    async def ask(self, message: TaskMessage, hear: Callable[[str], None], *, ends_at: float) -> Answer:  # noqa: ARG002  # no call is cut
        prompt = messages_of(message)[0]["content"]
        self.calls.setdefault(prompt, []).append(now())
        await asyncio.sleep(0.05)
        if not self.limits(prompt):
            self.refused += 1
            raise ModelBusy(FailureCode.RATE_LIMITED)
        hear("fine")
        await asyncio.sleep(1)
        return Answer("fine", "stop")


class Fleet:
    """Run environments until every task has ended."""

    def __init__(self, redis: Redis, provider: Provider, environments: int = 4) -> None:
        self.store = FakeStore(now_ms)
        self.provider = provider
        self.queue = Queue()
        self.sent: dict[str, tuple[Task, float]] = {}
        self._chance = Random(7)  # noqa: S311  # repeatable, and no secret
        self._scripts = Scripts(scripts_on_test_time())
        self._workers = [self._environment(redis) for _ in range(environments)]

    def _environment(self, redis: Redis) -> BatchRunner:
        flows = RateLimitStore(cast("Client", Wire(redis, lambda: 0.001)), self._scripts)
        board = ProgressReporter(self.store, lambda _: None)
        attempts = AttemptRunner(
            claims=self.store,
            calls=ModelCaller(
                self.provider, board, AdaptiveConcurrency(1, BATCH), CallDurationEstimator(), timeout_seconds=120
            ),
            flow=RateLimiter(flows, RateLimitSettings({}), now_ms=now_ms),
            backoff=Backoff(self._chance.random),
            max_attempts=3,
        )
        margin = margin_of(TIMEOUT)
        return BatchRunner(
            attempts,
            self.queue,
            TenantConcurrency(flows, 0),
            FakeJournal(),
            margin_seconds=margin,
            lease_seconds=LEASE_SECONDS,
        )

    def send(self, prompt: str, tenant: str) -> None:
        """Accept a prompt."""
        ref = TaskRef(tenant, "0" * 36, len(self.sent))
        task = Task(
            ref=ref,
            batch_size=10_000,
            created_ms=now_ms(),
            deadline_ms=now_ms() + DAY_MS,
            retention_ms=DAY_MS,
            model="gpt-test",
        )
        self.sent[prompt] = (task, now())
        body = TaskMessage(task, chat(prompt)).encode()
        self.queue.send(ReceivedMessage(prompt, "receipt", 1, body))

    async def run(self, scene: Awaitable[None]) -> None:
        """Let the environments work while the scene lasts."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work(worker)) for worker in self._workers]
            await scene
            for worker in workers:
                worker.cancel()

    async def _work(self, worker: BatchRunner) -> None:
        while True:
            await worker.run(await self.queue.receive(), TIMEOUT)

    async def record(self, prompt: str) -> TaskRecord:
        """Read a task."""
        (record,) = await self.store.read([self.sent[prompt][0].ref])
        assert record is not None
        return record

    async def has_ended(self, prompt: str) -> bool:
        """Tell whether a task has ended; before its first claim it has no record here."""
        (record,) = await self.store.read([self.sent[prompt][0].ref])
        return record is not None and record.status.is_terminal

    async def ended(self, *prompts: str) -> None:
        """Wait until tasks have ended."""
        for prompt in prompts:
            while not await self.has_ended(prompt):  # noqa: ASYNC110  # a record sends no events
                await asyncio.sleep(1)

    def wait_of(self, prompt: str) -> float:
        """Return the seconds from a prompt's acceptance to its last call."""
        return self.provider.calls[prompt][-1] - self.sent[prompt][1]


def in_virtual_time(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())
