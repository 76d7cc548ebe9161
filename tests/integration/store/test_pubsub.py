"""Hearing of ends: on a single server and on a cluster, woken by each way in which a task can end."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from common.domain.task import Answer, FailureCode, Task, WaitingOn, new_batch_id
from common.domain.transitions import Release
from common.runtime.settings import RedisSettings
from common.store import TaskNotifications, connect
from common.store.scripts import Scripts
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    START_MS,
    TENANT,
    ValkeyHarness,
    lease_of,
    new_batch,
    scripts_on_test_time,
    submitted,
    tasks_of,
    valkey_harness,
)

SOON = 2.0
"""Seconds within which a wake must come on a slow machine; the next look would be later."""


@pytest.fixture(params=["valkey", "valkey_cluster"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ValkeyHarness]:
    settings: RedisSettings = request.getfixturevalue(request.param)
    async with valkey_harness(settings, Scripts(scripts_on_test_time())) as opened:
        yield opened


async def complete(server: ValkeyHarness, task: Task) -> None:
    await server.store.complete(lease_of(task), Answer("done", "stop"))


async def fail(server: ValkeyHarness, task: Task) -> None:
    await server.store.fail(lease_of(task), FailureCode.CONTENT_POLICY)


async def cancel(server: ValkeyHarness, task: Task) -> None:
    await server.store.cancel([task.ref])


async def exhaust(server: ValkeyHarness, task: Task) -> None:
    lease = replace(lease_of(task), max_attempts=1)
    await server.store.release(lease, Release(waiting_on=WaitingOn.CAPACITY))


async def be_read_late(server: ValkeyHarness, task: Task) -> None:
    await server.advance(DEADLINE_IN_MS)
    await server.store.read([task.ref])


async def seconds_until_heard(wait: Callable[[float], Awaitable[None]], seconds: float = 10.0) -> float:
    started = time.monotonic()
    await wait(seconds)
    return time.monotonic() - started


@pytest.mark.parametrize("end", [complete, fail, cancel, exhaust, be_read_late])
async def test_whoever_waits_hears_of_every_end(
    server: ValkeyHarness, end: Callable[[ValkeyHarness, Task], Awaitable[None]]
) -> None:
    [task] = await submitted(server)
    await server.store.claim(lease_of(task))

    async with TaskNotifications(server.client).subscribe([(TENANT, task.ref.batch_id)]) as ear:
        await end(server, task)
        assert await seconds_until_heard(ear.wait) < SOON
        assert await seconds_until_heard(ear.wait, 0.2) >= 0.2, "one end, one wake"


async def test_another_batch_wakes_nobody(server: ValkeyHarness) -> None:
    [task] = await submitted(server)
    other = new_batch_id(START_MS, b"x" * 16)

    async with TaskNotifications(server.client).subscribe([(TENANT, other), ("rival", task.ref.batch_id)]) as ear:
        await complete(server, task)
        assert await seconds_until_heard(ear.wait, 0.3) >= 0.3


async def test_many_batches_are_heard_at_once_and_nothing_is_left_behind(server: ValkeyHarness) -> None:
    before = asyncio.all_tasks()
    tasks = []
    for number in range(50):
        batch = new_batch(1, batch_id=new_batch_id(START_MS, bytes([number]) * 16))
        tasks += tasks_of(batch, await server.store.create(batch))

    async with TaskNotifications(server.client).subscribe([(TENANT, task.ref.batch_id) for task in tasks]) as ear:
        for task in (tasks[0], tasks[49]):
            await complete(server, task)
            assert await seconds_until_heard(ear.wait) < SOON

    assert asyncio.all_tasks() == before


async def test_two_who_wait_hear_both(server: ValkeyHarness) -> None:
    [task] = await submitted(server)
    wakes = TaskNotifications(server.client)
    batch = (TENANT, task.ref.batch_id)

    async with wakes.subscribe([batch]) as one, wakes.subscribe([batch]) as other:
        await complete(server, task)
        assert await seconds_until_heard(one.wait) < SOON
        assert await seconds_until_heard(other.wait) < SOON


async def test_a_connection_that_is_cut_is_opened_again_and_what_was_missed_is_looked_for(
    valkey: RedisSettings,
) -> None:
    async with valkey_harness(valkey, Scripts(scripts_on_test_time())) as server:
        [task] = await submitted(server)
        async with TaskNotifications(server.client).subscribe([(TENANT, task.ref.batch_id)]) as ear:
            await server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            assert await seconds_until_heard(ear.wait) < SOON, "woken to look"
            await complete(server, task)
            assert await seconds_until_heard(ear.wait) < SOON, "and listening again"


async def test_where_no_server_answers_listening_is_deaf_and_never_raises() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client = connect(RedisSettings("127.0.0.1", port, tls=False, cluster=False, username=None))
    async with TaskNotifications(client).subscribe([(TENANT, "0" * 36)]) as ear:
        assert await seconds_until_heard(ear.wait, 0.1) >= 0.1
    await client.aclose()
