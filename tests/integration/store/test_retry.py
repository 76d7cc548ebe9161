"""The contract of retries: a failed task keeps its request, and is taken once."""

import asyncio

from common.domain.task import Answer, BatchRecord, FailureCode, Task
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    RETENTION_MS,
    TENANT,
    Harness,
    lease_of,
    new_batch,
    read_one,
    submitted,
    tasks_of,
)

REQUEST = '{"v":1,"messages":["Who are you, Jos\\u00e9?"]}'
FIRST, SECOND = "a" * 36, "b" * 36


async def failed(harness: Harness, size: int = 1, *, keeping: bool = True) -> list[Task]:
    tasks = await submitted(harness, size)
    for task in tasks:
        await harness.store.claim(lease_of(task))
        await harness.store.fail(lease_of(task), FailureCode.BAD_REQUEST)
        if keeping:
            await harness.store.save_request(task.ref, REQUEST)
    return tasks


async def batch_of(harness: Harness, task: Task) -> BatchRecord:
    batch = await harness.store.read_batch(TENANT, task.ref.batch_id)
    assert isinstance(batch, BatchRecord)
    return batch


async def test_a_failed_task_keeps_its_request_and_nothing_else_of_it_changes(harness: Harness) -> None:
    [task] = await failed(harness, keeping=False)
    before = await read_one(harness, task.ref)
    assert before.kept_bytes is None
    assert await harness.store.load_requests([task.ref]) == [None]

    await harness.advance(5)
    await harness.store.save_request(task.ref, REQUEST)

    after = await read_one(harness, task.ref)
    assert after.kept_bytes == len(REQUEST)
    assert (after.status, after.attempts, after.expires_ms) == (before.status, before.attempts, before.expires_ms)
    assert await harness.store.load_requests([task.ref]) == [REQUEST]


async def test_a_task_that_has_not_failed_keeps_nothing(harness: Harness) -> None:
    queued, running, cancelled, completed, lost = tasks = await submitted(harness, 5)
    for task in (running, completed):
        await harness.store.claim(lease_of(task))
    await harness.store.complete(lease_of(completed), Answer("yes", "stop"))
    await harness.store.cancel([cancelled.ref])
    await harness.lose(lost.ref)

    for task in tasks:
        await harness.store.save_request(task.ref, REQUEST)

    assert await harness.store.load_requests([task.ref for task in tasks]) == [None] * 5
    assert (await read_one(harness, queued.ref)).kept_bytes is None
    assert await harness.store.read([lost.ref]) == [None]


async def test_a_kept_request_is_gone_with_its_record(harness: Harness) -> None:
    [task] = await failed(harness)

    await harness.advance(RETENTION_MS)

    assert await harness.store.load_requests([task.ref]) == [None]


async def test_a_task_that_failed_by_a_read_takes_its_request_later(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.advance(DEADLINE_IN_MS)
    assert (await read_one(harness, task.ref)).code is FailureCode.DEADLINE_EXCEEDED

    await harness.store.save_request(task.ref, REQUEST)

    assert await harness.store.retry(await batch_of(harness, task), [task.ref], FIRST)


async def test_failed_tasks_are_taken_once_each_in_their_order(harness: Harness) -> None:
    tasks = await failed(harness, 3)
    refs = [tasks[0].ref, tasks[2].ref]
    batch = await batch_of(harness, tasks[0])
    assert batch.retry is None

    assert await harness.store.retry(batch, refs, FIRST)

    assert [(await read_one(harness, task.ref)).retried_as for task in tasks] == [f"{FIRST}-0", None, f"{FIRST}-1"]
    batch = await batch_of(harness, tasks[0])
    assert batch.retry == FIRST
    assert await harness.store.retry(batch, [tasks[1].ref], SECOND)
    assert not await harness.store.retry(await batch_of(harness, tasks[0]), refs, "c" * 36)


async def test_whoever_looked_before_another_retry_takes_nothing(harness: Harness) -> None:
    tasks = await failed(harness, 2)
    batch = await batch_of(harness, tasks[0])

    taken = await asyncio.gather(
        *(harness.store.retry(batch, [task.ref], new) for task, new in zip(tasks, (FIRST, SECOND), strict=True))
    )

    assert sorted(taken) == [False, True]
    marks = [(await read_one(harness, task.ref)).retried_as for task in tasks]
    assert sum(mark is not None for mark in marks) == 1


async def test_all_are_taken_or_none(harness: Harness) -> None:
    kept, completed = await submitted(harness, 2)
    await harness.store.dead_letter(kept)
    await harness.store.save_request(kept.ref, REQUEST)
    await harness.store.complete(lease_of(completed), Answer("yes", "stop"))

    assert not await harness.store.retry(await batch_of(harness, kept), [kept.ref, completed.ref], FIRST)

    assert (await read_one(harness, kept.ref)).retried_as is None
    assert (await batch_of(harness, kept)).retry is None


async def test_what_keeps_no_request_is_not_taken(harness: Harness) -> None:
    [task] = await failed(harness, keeping=False)

    assert not await harness.store.retry(await batch_of(harness, task), [task.ref], FIRST)


async def test_where_the_batch_or_a_task_is_lost_nothing_is_taken(harness: Harness) -> None:
    one, other = await failed(harness, 2)
    batch = await batch_of(harness, one)
    await harness.lose(other.ref)
    assert not await harness.store.retry(batch, [one.ref, other.ref], FIRST)

    await harness.lose_batch(TENANT, one.ref.batch_id)
    assert not await harness.store.retry(batch, [one.ref], FIRST)

    assert (await read_one(harness, one.ref)).retried_as is None
    assert await harness.store.read_batch(TENANT, one.ref.batch_id) is None


async def test_a_task_whose_batch_was_rebuilt_is_still_taken_once(harness: Harness) -> None:
    one, other = await failed(harness, 2)
    assert await harness.store.retry(await batch_of(harness, one), [one.ref], FIRST)
    await harness.lose_batch(TENANT, one.ref.batch_id)
    await harness.store.dead_letter(other)  # any script that has the message rebuilds it
    batch = await batch_of(harness, one)
    assert batch.retry is None

    assert not await harness.store.retry(batch, [one.ref], SECOND)
    assert (await read_one(harness, one.ref)).retried_as == f"{FIRST}-0"


async def test_an_accepted_batch_says_so(harness: Harness) -> None:
    batch = new_batch(1)
    created = await harness.store.create(batch)
    [task] = tasks_of(batch, created)
    assert not (await batch_of(harness, task)).is_accepted

    await harness.store.mark_accepted(TENANT, task.ref.batch_id, created.sending_until_ms)

    assert (await batch_of(harness, task)).is_accepted
