"""Calls that travel together: each gets its own answer, and none is left on the way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from common.runtime.settings import RedisSettings
from common.store.script_batching import MAX_CALLS, BatchingScripts
from common.store.scripts import LIBRARY, ScriptCall

SOURCES = {
    **{f"lib/{name}": "" for name in LIBRARY},
    "commands/grow": "return redis.call('INCRBY', KEYS[1], ARGV[2])",
    "commands/list": """
        redis.call('RPUSH', KEYS[1], table.concat(KEYS, ' ', 2) .. ' ' .. table.concat(ARGV, ' '))
        return #KEYS - 1
    """,
}


class Watched(Redis):
    """Count the pipelines that it opens."""

    trips = 0

    def pipeline(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # the base's own
        self.trips += 1
        return super().pipeline(*args, **options)


@pytest.fixture
async def client(valkey: RedisSettings) -> AsyncIterator[Watched]:
    async with Watched(host=valkey.host, port=valkey.port) as client:
        await client.flushall()
        yield client


def grow(key: str, by: int = 1) -> ScriptCall:
    return ScriptCall("grow", [key], {"by": by})


async def test_calls_of_one_moment_travel_in_one_trip_and_get_their_own_answers(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)
    await scripts.run(client, grow("warm"))  # the server has the script now
    client.trips = 0

    answers = await asyncio.gather(*(scripts.run(client, grow(f"key-{by}", by)) for by in range(1, 21)))

    assert answers == list(range(1, 21))
    assert client.trips == 1


def entry(book: str, task: str, unit: str = "eur") -> ScriptCall:
    return ScriptCall("list", [f"{{x}}{book}", f"{{x}}{task}"], {"unit": unit}, [{"of": task}], is_joint=True)


async def test_joint_calls_that_are_else_alike_become_one(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)

    answers = await asyncio.gather(
        *(scripts.run(client, call) for call in (entry("a", "1"), entry("b", "2"), entry("a", "3"), grow("c"))),
        scripts.run(client, entry("a", "4", unit="usd")),
    )

    assert answers == [2, 1, 2, 1, 1]
    assert await client.lrange("{x}a", 0, -1) == [
        b"{x}1 {x}3 unit eur item 0 of 1 item 1 of 3",
        b"{x}4 unit usd item 0 of 4",
    ]
    assert await client.lrange("{x}b", 0, -1) == [b"{x}2 unit eur item 0 of 2"]


async def test_a_trip_is_full_by_who_waits_for_it_however_few_calls_it_makes(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)

    answers = await asyncio.gather(*(scripts.run(client, entry("a", str(task))) for task in range(MAX_CALLS + 1)))

    assert sorted(answers) == [1, *[MAX_CALLS] * MAX_CALLS]


async def test_a_call_after_a_trip_has_left_takes_the_next(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)

    assert [await scripts.run(client, grow("key")) for _ in range(3)] == [1, 2, 3]


async def test_a_trip_that_is_full_leaves_no_call_behind(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)
    await scripts.run(client, grow("warm"))
    client.trips = 0

    answers = await asyncio.gather(*(scripts.run(client, grow("key")) for _ in range(MAX_CALLS + 1)))

    assert sorted(answers) == list(range(1, MAX_CALLS + 2))
    assert client.trips == 2


async def test_an_error_is_that_of_its_own_call(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)
    await client.set("text", "no number")

    good, bad, other = await asyncio.gather(
        *(scripts.run(client, grow(key)) for key in ("good", "text", "other")), return_exceptions=True
    )

    assert (good, other) == (1, 1)
    assert isinstance(bad, ResponseError)


async def test_a_call_that_comes_while_a_trip_is_given_up_takes_the_next(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)
    left = asyncio.create_task(scripts.run(client, grow("left")))
    await asyncio.sleep(0)  # it has opened its trip

    left.cancel()
    async with asyncio.timeout(10):
        assert await asyncio.create_task(scripts.run(client, grow("key"))) == 1

    assert left.cancelled()
    assert await client.get("left") is None


async def test_a_server_that_does_not_answer_fails_all_calls_of_the_trip(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)
    async with Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        ends = await asyncio.gather(*(scripts.run(nowhere, grow("key")) for _ in range(2)), return_exceptions=True)

    assert all(isinstance(end, RedisConnectionError) for end in ends)
    assert await scripts.run(client, grow("key")) == 1


async def test_who_leaves_does_not_stop_the_trip_of_the_others(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES)
    first = asyncio.create_task(scripts.run(client, grow("first")))
    second = asyncio.create_task(scripts.run(client, grow("second")))
    await asyncio.sleep(0)

    first.cancel()

    assert await second == 1
    assert first.cancelled()


async def test_a_trip_that_nobody_waits_for_ends_with_the_last_who_leaves(client: Watched) -> None:
    scripts = BatchingScripts(SOURCES, linger_seconds=60)
    calls = [asyncio.create_task(scripts.run(client, grow("key"))) for _ in range(3)]
    await asyncio.sleep(0)

    for call in calls:
        call.cancel()
    await asyncio.wait(calls)

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_store_serves_one_event_loop_after_the_other(valkey: RedisSettings) -> None:
    scripts = BatchingScripts(SOURCES)

    async def once() -> Any:  # noqa: ANN401
        async with Redis(host=valkey.host, port=valkey.port) as client:
            return await scripts.run(client, grow("loops"))

    first = await asyncio.to_thread(asyncio.run, once())
    assert await asyncio.to_thread(asyncio.run, once()) == first + 1
