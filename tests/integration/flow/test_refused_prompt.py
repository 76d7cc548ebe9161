"""Test one prompt that the provider always rejects among others, and a limit that affects all."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from common.domain.task import FailureCode, TaskStatus
from common.runtime.settings import RedisSettings
from common.worker.refusals import MOST_REFUSALS
from tests.integration.flow.fleet import Fleet, Provider, in_virtual_time, now

REFUSED = "always refused"
EVERY_SECOND = 600
"""Seconds for which another prompt is sent in each."""


@pytest.fixture
def redis(valkey: RedisSettings) -> Iterator[Redis]:
    with Redis(host=valkey.host, port=valkey.port) as client:
        client.flushall()
        yield client
        client.flushall()


def refuses(prompt: str) -> bool:
    return not prompt.startswith(REFUSED)


@pytest.mark.parametrize(
    ("tenants", "prompts", "longest", "mean"),
    [
        (["other"], 1, 0.05, 0.02),
        (["other"], 30, 0.5, 0.02),
        (["acme"], 1, 1.1, 0.02),
        (["acme", "other"], 1, 1.1, 0.02),
    ],
    ids=["another tenant beside one", "another tenant beside thirty", "its own tenant", "both"],
)
def test_a_prompt_that_is_always_refused_holds_nobody_up(
    redis: Redis, tenants: list[str], prompts: int, longest: float, mean: float
) -> None:
    async def scene() -> None:
        fleet = Fleet(redis, Provider(refuses))
        answered = []

        async def send() -> None:
            for number in range(prompts):
                fleet.send(f"{REFUSED} {number}", "acme")
            for second in range(EVERY_SECOND):
                await asyncio.sleep(1)
                for tenant in tenants:
                    fleet.send(f"{tenant} {second}", tenant)
                    answered.append(f"{tenant} {second}")
            await fleet.ended(*answered)

        await fleet.run(send())
        waits = [fleet.wait_of(prompt) for prompt in answered]
        assert max(waits) < longest
        assert sum(waits) / len(waits) < mean

    in_virtual_time(scene)


def test_a_prompt_that_is_always_refused_ends_though_others_are_answered(redis: Redis) -> None:
    async def scene() -> None:
        fleet = Fleet(redis, Provider(refuses))

        async def send() -> None:
            fleet.send(REFUSED, "acme")
            while not await fleet.has_ended(REFUSED):
                fleet.send(f"answered at {now()}", "other")
                await asyncio.sleep(10)

        await fleet.run(send())
        record = await fleet.record(REFUSED)
        assert (record.code, record.last_code) == (FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.RATE_LIMITED)
        assert len(record.attempts) == 3
        assert len(fleet.provider.calls[REFUSED]) == MOST_REFUSALS + 3
        assert 3_600 < now() < 4 * 3_600

    in_virtual_time(scene)


# ─── A limit that is everybody's ──────────────────────────────────────────────────────────────────────────────────────


class Bucket:
    """Let so many calls through in a minute, evenly."""

    def __init__(self, a_minute: int) -> None:
        self._rate = a_minute / 60
        self._left = 2.0
        self._at = 0.0

    def __call__(self, _: str) -> bool:
        self._left = min(2.0, self._left + (now() - self._at) * self._rate)
        self._at = now()
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Window:
    """Let so many calls through in any minute, and count those that are refused too."""

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._calls: list[float] = []

    def __call__(self, _: str) -> bool:
        self._calls = [*(at for at in self._calls if at > now() - 60), now()]
        return len(self._calls) <= self._a_minute


@pytest.mark.parametrize(("limit", "a_minute", "tasks"), [(Bucket, 30, 150), (Bucket, 4, 40), (Window, 30, 150)])
def test_under_a_limit_that_many_tasks_share_none_fails_however_often_it_is_refused(
    redis: Redis, limit: Callable[[int], Callable[[str], bool]], a_minute: int, tasks: int
) -> None:
    async def scene() -> None:
        fleet = Fleet(redis, Provider(limit(a_minute)), environments=6)
        prompts = [f"prompt {number}" for number in range(tasks)]

        async def send() -> None:
            for number, prompt in enumerate(prompts):
                fleet.send(prompt, ("acme", "other")[number % 2])
            await fleet.ended(*prompts)

        await fleet.run(send())
        records = [await fleet.record(prompt) for prompt in prompts]
        assert {(record.status, len(record.attempts)) for record in records} == {(TaskStatus.COMPLETED, 1)}
        assert now() < 3 * tasks / a_minute * 60

    in_virtual_time(scene)
