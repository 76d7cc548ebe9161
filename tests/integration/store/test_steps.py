"""The finished steps of workflows: kept for the attempts that follow, and booked once, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from common.domain.spending import Charge, Spend
from common.domain.task import BatchRecord, Task, Usage
from common.domain.transitions import KeptStep
from common.store.checkpoints import CheckpointStore
from common.store.scripts import Scripts
from tests.integration.store.harness import (
    TENANT,
    TwiceScripts,
    ValkeyHarness,
    lease_of,
    scripts_on_test_time,
    submitted,
    valkey_harness,
)

TODAY: Final = "2096-10-02"
FIRST: Final = KeptStep("first", '{"text": "é"}', Charge.billed(Usage(1, 2, 3), 4))
SECOND: Final = KeptStep("second", "{}", Charge.estimate(Usage(10, 20, 30), 40))


@pytest.fixture(params=["valkey", "valkey_cluster", "valkey_twice"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[ValkeyHarness]:
    scripts = (TwiceScripts if request.param == "valkey_twice" else Scripts)(scripts_on_test_time())
    settings = request.getfixturevalue("valkey_cluster" if request.param == "valkey_cluster" else "valkey")
    async with valkey_harness(settings, scripts) as opened:
        yield opened


@pytest.fixture
def steps(harness: ValkeyHarness) -> CheckpointStore:
    return CheckpointStore(harness.client, harness.scripts)


async def claimed(harness: ValkeyHarness, owner: str = "a") -> Task:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task, owner))
    return task


async def batch_of(harness: ValkeyHarness, task: Task) -> BatchRecord:
    batch = await harness.store.read_batch(TENANT, task.ref.batch_id)
    assert batch is not None
    return batch


async def test_steps_are_kept_and_booked_on_the_batch_and_on_the_day(
    harness: ValkeyHarness, steps: CheckpointStore
) -> None:
    task = await claimed(harness)

    assert await steps.checkpoint(task, "a", FIRST)
    assert await steps.checkpoint(task, "a", SECOND)

    assert await steps.steps(task.ref) == {"first": FIRST.text, "second": SECOND.text}
    batch = await batch_of(harness, task)
    assert (batch.usage, batch.cost_nanos) == (Usage(11, 22, 33), 44)
    assert (batch.estimated_tokens, batch.estimated_nanos) == (30, 40)
    assert await harness.store.spend(TENANT, TODAY) == Spend(
        0, 11, 22, 33, cost_nanos=44, estimated_tokens=30, estimated_nanos=40
    )


async def test_a_step_is_booked_once_however_often_it_is_kept(harness: ValkeyHarness, steps: CheckpointStore) -> None:
    task = await claimed(harness)

    await asyncio.gather(*(steps.checkpoint(task, "a", FIRST) for _ in range(3)))
    await harness.advance(60_000)
    await steps.checkpoint(task, "a", FIRST)

    assert (await batch_of(harness, task)).cost_nanos == 4
    assert (await harness.store.spend(TENANT, TODAY)).cost_nanos == 4


async def test_a_task_that_is_anothers_by_now_keeps_and_books_nothing(
    harness: ValkeyHarness, steps: CheckpointStore
) -> None:
    task = await claimed(harness, "another")
    [cancelled] = await submitted(harness)
    await harness.store.cancel([cancelled.ref])

    assert not await steps.checkpoint(task, "a", FIRST)
    assert not await steps.checkpoint(cancelled, "a", FIRST)

    assert await steps.steps(task.ref) == {}
    assert (await batch_of(harness, task)).usage is None
    assert await harness.store.spend(TENANT, TODAY) == Spend()


async def test_a_lost_record_takes_the_task_from_nobody(harness: ValkeyHarness, steps: CheckpointStore) -> None:
    task = await claimed(harness)
    await harness.lose(task.ref)

    assert await steps.checkpoint(task, "a", FIRST)

    assert await steps.steps(task.ref) == {"first": FIRST.text}
    assert (await batch_of(harness, task)).cost_nanos == 4
    await harness.lose_batch(TENANT, task.ref.batch_id)
    assert await steps.checkpoint(task, "a", SECOND)
    assert await harness.store.read_batch(TENANT, task.ref.batch_id) is None
