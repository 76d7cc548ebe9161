"""Test twenty environments on one limit in virtual time, with the real script on a real server."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis import Redis

from common.domain.message import TaskMessage
from common.domain.rate_limits import Limit
from common.domain.task import Task, TaskRef, Usage
from common.runtime.settings import RedisSettings
from common.store import RateLimitStore
from common.store.scripts import Scripts
from common.worker.limits import RateLimitSettings
from common.worker.rate_limiter import Deferred, RateLimiter
from common.worker.token_estimates import answer_tokens, prompt_tokens
from tests.integration.store.harness import CLOCK_KEY, START_MS, scripts_on_test_time
from tests.requests import chat
from tests.unit.worker.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from common.store.client import Client

WORKERS = 20
AT_ONCE = 10
MINUTES = 3
REQUESTS = 1_200
TOKENS = 240_000
GUESS = 221
MESSAGE = TaskMessage(
    Task(
        ref=TaskRef("acme", "0" * 36, 0),
        batch_size=1,
        created_ms=START_MS,
        deadline_ms=START_MS + 10**7,
        retention_ms=10**7,
        model="gpt-test",
    ),
    chat("How do ten thousand prompts cross a narrow bridge?"),
    expected_tokens=200,
)


@dataclass(eq=False)  # a client is known by itself
class Wire:
    """Stand for the client of one environment: each command takes a while, and now and then a long one."""

    redis: Redis
    chance: Random
    commands: int = 0

    async def execute_command(self, *command: Any) -> Any:  # noqa: ANN401  as the client's
        self.commands += 1
        await asyncio.sleep(self._latency())
        now_ms = START_MS + round(asyncio.get_running_loop().time() * 1000)
        self.redis.set(CLOCK_KEY, now_ms)
        answer = self.redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's
        await asyncio.sleep(self._latency())
        return answer

    def _latency(self) -> float:
        return self.chance.choice([0.0005, 0.001, 0.002, 0.05]) if self.chance.random() < 0.98 else 1.2


@dataclass
class Provider:
    """Note when each call starts and what it uses."""

    starts: list[float] = field(default_factory=list)
    used: int = 0
    """Tokens of the calls that began within the measured minutes."""

    def most_in_a_minute(self) -> int:
        starts = sorted(self.starts)
        return max(bisect_left(starts, start + 60) - place for place, start in enumerate(starts))


class Crowd:
    def __init__(self, redis: Redis, limit: Limit) -> None:
        self.chance = Random(7)  # noqa: S311  repeatable, and no secret
        self.provider = Provider()
        self.wires = [Wire(redis, self.chance) for _ in range(WORKERS)]
        self._scripts = Scripts(scripts_on_test_time())
        self._limits = RateLimitSettings({"*": limit})

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for wire in self.wires:
                flow = RateLimiter(
                    RateLimitStore(cast("Client", wire), self._scripts), self._limits, now_ms=lambda: START_MS
                )
                for _ in range(AT_ONCE):
                    group.create_task(self._work(flow))

    async def _work(self, flow: RateLimiter) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < MINUTES * 60:
            permit = await flow.wait_for_start(MESSAGE)
            if isinstance(permit, Deferred):
                await asyncio.sleep(permit.seconds)
                continue
            await asyncio.sleep(self.chance.choice([0.002, 0.004, 0.1]))  # the claim
            if loop.time() > permit.start_by:
                permit.settle()
                continue
            self.provider.starts.append(loop.time())
            used = self.chance.randrange(GUESS // 2, GUESS * 2)
            self.provider.used += used * (loop.time() < MINUTES * 60)
            await asyncio.sleep(self.chance.uniform(0.5, 8))
            permit.answered(Usage(20, used - 20, used), 0)
            permit.settle()
            await flow.report()


@pytest.fixture
def redis(valkey: RedisSettings) -> Iterator[Redis]:
    with Redis(host=valkey.host, port=valkey.port) as client:
        client.flushall()
        yield client
        client.flushall()


def run(crowd: Crowd) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(crowd.run())


def test_a_crowd_never_exceeds_its_requests_a_minute_by_a_hundredth_and_uses_them(redis: Redis) -> None:
    crowd = Crowd(redis, Limit(requests=REQUESTS))

    run(crowd)

    starts = [start for start in crowd.provider.starts if start < MINUTES * 60]
    assert crowd.provider.most_in_a_minute() <= REQUESTS * 1.01
    assert len(starts) >= 0.95 * REQUESTS * MINUTES


def test_a_crowd_keeps_to_its_tokens_a_minute_though_it_has_to_guess_them(redis: Redis) -> None:
    crowd = Crowd(redis, Limit(tokens=TOKENS))

    run(crowd)

    used, starts = crowd.provider.used, [start for start in crowd.provider.starts if start < MINUTES * 60]
    assert prompt_tokens(MESSAGE) + answer_tokens(MESSAGE) == GUESS
    assert used / len(starts) > GUESS, "the guess was too low"
    assert used == pytest.approx(TOKENS * MINUTES, rel=0.05)
