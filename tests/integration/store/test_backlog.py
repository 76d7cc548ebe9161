"""A tenant's tasks in a queue have places: counted once, up to a share, and never for longer than they may last."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.errors import StoreUnavailable
from common.domain.task import TaskRef, new_batch_id
from common.runtime.settings import RedisSettings
from common.store import connect
from common.store.backlog import BacklogStore
from common.store.keys import BACKLOG_GRACE_MS, SENDING_LEASE_MS
from common.store.scripts import Scripts
from tests.fakes import FakeBacklog
from tests.integration.store.harness import START_MS, FakeHarness, TwiceScripts, scripts_on_test_time, valkey_harness

TASKS: Final = BacklogQueue.TASKS
HOUR_MS: Final = 3_600_000
DEADLINE_MS: Final = START_MS + 6 * HOUR_MS


def batch(number: int) -> str:
    return new_batch_id(START_MS, number.to_bytes(16))


def refs(tenant: str, number: int, size: int) -> list[TaskRef]:
    return [TaskRef(tenant, batch(number), index) for index in range(size)]


class Site:
    """The backlog under test, and a queue of 100 tasks at most whose depth the test says."""

    def __init__(self, backlog: Any, server: Any) -> None:  # noqa: ANN401  # the fake or the store, and its harness
        self.backlog = backlog
        self.advance = server.advance
        self.depth = 0

    async def reserve(self, tenant: str, number: int, size: int, *, share: int = 50, cap: int = 100) -> int:
        excess: int = await self.backlog.reserve(tenant, TASKS, batch(number), size, QueueLimit(self.depth, cap, share))
        return excess

    async def confirm(self, tenant: str, number: int, size: int, deadline_ms: int = DEADLINE_MS) -> None:
        await self.backlog.confirm(tenant, TASKS, batch(number), size, deadline_ms)

    async def send(self, tenant: str, number: int, size: int, **limits: int) -> int:
        """Do as submit does: reserve, send, confirm; the depth is known at once."""
        excess = await self.reserve(tenant, number, size, **limits)
        if not excess:
            self.depth += size
            await self.confirm(tenant, number, size)
        return excess

    async def work_off(self, tenant: str, number: int, size: int) -> None:
        """Do as a worker does that is done with so many of a batch's tasks."""
        self.depth -= size
        await self.backlog.remove(TASKS, refs(tenant, number, size))


@pytest.fixture(params=["fake", "valkey", "valkey_cluster", "valkey_twice"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    if request.param == "fake":
        fake = FakeHarness()
        yield Site(FakeBacklog(lambda: fake.now_ms), fake)
        return
    scripts = (TwiceScripts if request.param == "valkey_twice" else Scripts)(scripts_on_test_time())
    settings = request.getfixturevalue("valkey_cluster" if request.param == "valkey_cluster" else "valkey")
    async with valkey_harness(settings, scripts) as harness:
        yield Site(BacklogStore(harness.client, scripts), harness)


async def test_one_tenant_fills_its_share_and_another_still_has_room(site: Site) -> None:
    assert await site.send("rival", 1, 30) == 0
    assert await site.send("rival", 2, 30) == 10
    assert await site.send("rival", 3, 20) == 0
    assert await site.send("rival", 4, 1) == 1

    assert await site.send("acme", 5, 25) == 0


async def test_however_many_tenants_fill_their_shares_one_more_has_room(site: Site) -> None:
    filled = []
    for tenant in range(5):
        before, batches = site.depth, 0
        while await site.send(f"rival-{tenant}", batches, 10, cap=640) == 0:
            batches += 1
        filled.append(site.depth - before)

    assert filled == [320, 160, 80, 40, 20]
    assert await site.send("acme", 0, 10, cap=640) == 0


@pytest.mark.parametrize(("share", "most"), [(50, 50), (80, 80), (25, 25), (1, 1), (99, 99), (100, 100)])
async def test_alone_a_tenant_fills_the_share_that_it_has(site: Site, share: int, most: int) -> None:
    assert await site.reserve("acme", 1, most, share=share) == 0
    assert await site.reserve("acme", 2, 1, share=share) > 0


async def test_what_a_worker_is_done_with_makes_room_and_duplicates_make_no_more(site: Site) -> None:
    await site.send("acme", 1, 50)
    assert await site.send("acme", 2, 10) == 10

    await site.work_off("acme", 1, 10)
    await site.backlog.remove(TASKS, refs("acme", 1, 10))
    await site.backlog.remove(TASKS, refs("acme", 7, 10))

    assert await site.send("acme", 2, 11) == 1
    assert await site.send("acme", 2, 10) == 0


async def test_a_tenants_own_tasks_count_though_the_depth_is_not_known_yet(site: Site) -> None:
    for number in range(5):
        assert await site.reserve("rival", number, 10) == 0

    assert await site.reserve("rival", 9, 10) > 0, "SQS still tells that the queue is empty"


async def test_calls_at_once_take_no_more_than_the_share(site: Site) -> None:
    excesses = await asyncio.gather(*(site.reserve("rival", number, 10) for number in range(20)))

    assert excesses.count(0) == 5


async def test_a_batch_that_comes_again_is_counted_once(site: Site) -> None:
    assert await site.send("acme", 1, 40) == 0
    assert await site.reserve("acme", 1, 40) == 0
    assert await site.send("acme", 2, 10) == 0
    assert await site.send("acme", 3, 1) > 0


async def test_a_batch_that_was_never_sent_leaves_its_places(site: Site) -> None:
    assert await site.reserve("acme", 1, 50) == 0
    await site.backlog.remove(TASKS, refs("acme", 1, 50))

    assert await site.send("acme", 2, 50) == 0


async def test_places_that_a_dead_call_has_reserved_expire_with_its_lease(site: Site) -> None:
    assert await site.reserve("acme", 1, 50) == 0
    await site.advance(SENDING_LEASE_MS - 1)
    assert await site.reserve("acme", 2, 1) > 0

    await site.advance(1)

    assert await site.reserve("acme", 2, 50) == 0


async def test_places_that_nobody_gives_back_expire_an_hour_after_the_deadline(site: Site) -> None:
    await site.send("acme", 1, 50)
    await site.advance(DEADLINE_MS + BACKLOG_GRACE_MS - START_MS - 1)
    assert await site.reserve("acme", 2, 1) > 0

    await site.advance(1)
    site.depth = 0

    assert await site.reserve("acme", 2, 50) == 0


async def test_a_short_deadline_frees_no_place_while_its_messages_wait(site: Site) -> None:
    assert await site.reserve("rival", 1, 50) == 0
    await site.confirm("rival", 1, 50, deadline_ms=START_MS + 1_000)
    await site.advance(HOUR_MS)

    assert await site.reserve("rival", 2, 50) > 0


async def test_a_task_that_was_done_before_its_batch_was_confirmed_stays_done(site: Site) -> None:
    assert await site.reserve("acme", 1, 50) == 0
    await site.backlog.remove(TASKS, refs("acme", 1, 50))
    await site.confirm("acme", 1, 50)

    assert await site.reserve("acme", 2, 50) == 0


async def test_each_queue_has_shares_of_its_own(site: Site) -> None:
    assert await site.send("acme", 1, 50) == 0

    assert await site.backlog.reserve("acme", BacklogQueue.WORKFLOWS, batch(2), 50, QueueLimit(0, 100, 50)) == 0
    await site.backlog.remove(BacklogQueue.WORKFLOWS, refs("acme", 1, 50))
    assert await site.send("acme", 3, 1) > 0


async def test_a_batch_as_large_as_there_are_is_counted_and_removed(site: Site) -> None:
    assert await site.reserve("acme", 1, 10_000, cap=20_000) == 0
    await site.confirm("acme", 1, 10_000)
    assert await site.reserve("acme", 2, 1, cap=20_000) > 0
    await site.backlog.remove(TASKS, refs("acme", 1, 10_000))
    assert await site.reserve("acme", 2, 10_000, cap=20_000) == 0


async def test_where_redis_does_not_answer_nobody_can_say() -> None:
    client = connect(RedisSettings("127.0.0.1", 1, tls=False, cluster=False, username=None))
    backlog = BacklogStore(client)
    try:
        for call in (
            backlog.reserve("acme", TASKS, batch(1), 1, QueueLimit(0, 10, 50)),
            backlog.confirm("acme", TASKS, batch(1), 1, DEADLINE_MS),
            backlog.remove(TASKS, refs("acme", 1, 1)),
        ):
            with pytest.raises(StoreUnavailable):
                await call
    finally:
        await client.aclose()
