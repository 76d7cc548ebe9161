"""The contract of create, accept, unsent and read_batch, and what acceptance means to claim."""

from dataclasses import replace

import pytest

from common.domain.task import BatchRecord, FailureCode, TaskRecord, TaskRef, TaskStatus, WaitingOn, batch_id_of_key
from common.domain.transitions import Claim, ClaimOutcome, Created, CreateOutcome, EndOutcome
from common.store.keys import SENDING_LEASE_MS
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    RETENTION_MS,
    START_MS,
    TENANT,
    Harness,
    lease_of,
    new_batch,
    read_one,
    tasks_of,
)
from tests.store import accepted

DEADLINE_MS = START_MS + DEADLINE_IN_MS
KEYED_ID = batch_id_of_key(TENANT, "order-7")
KEYED = new_batch(batch_id=KEYED_ID, digest="digest-of-the-body")


async def test_a_new_batch_is_queued_task_by_task(harness: Harness) -> None:
    batch = new_batch(2)

    created = await harness.store.create(batch)

    assert created == Created(CreateOutcome.CREATED, START_MS, DEADLINE_MS, START_MS + SENDING_LEASE_MS)
    refs = [TaskRef(TENANT, batch.batch_id, index) for index in range(2)]
    expected = TaskRecord(
        ref=refs[0],
        status=TaskStatus.QUEUED,
        progress=0,
        attempts=(),
        created_ms=START_MS,
        deadline_ms=DEADLINE_MS,
        expires_ms=DEADLINE_MS + RETENTION_MS,
        model="gpt-test",
        updated_ms=START_MS,
        waiting_on=WaitingOn.CAPACITY,
    )
    assert await harness.store.read(refs) == [expected, replace(expected, ref=refs[1], custom_id="item-1")]
    assert await harness.store.read_batch(TENANT, batch.batch_id) == BatchRecord(
        TENANT, batch.batch_id, 2, START_MS, DEADLINE_MS, DEADLINE_MS + RETENTION_MS
    )


async def test_a_batch_keeps_what_its_caller_noted_until_redis_loses_it(harness: Harness) -> None:
    # GIVEN a keyed batch with metadata that Redis lost and a message rebuilt without them
    metadata = {"campaign": "spring", "é\x00": ""}
    noted = replace(KEYED, metadata=metadata)
    tasks = tasks_of(noted, await harness.store.create(noted))
    known = await harness.store.read_batch(TENANT, KEYED_ID)
    assert known is not None
    assert known.metadata == metadata
    await harness.lose_batch(TENANT, KEYED_ID)
    await harness.store.claim(lease_of(tasks[0]))
    rebuilt = await harness.store.read_batch(TENANT, KEYED_ID)
    assert rebuilt is not None
    assert rebuilt.metadata is None

    # WHEN its request is repeated THEN they are there again
    await harness.store.create(noted)
    assert await harness.store.read_batch(TENANT, KEYED_ID) == known


async def test_a_batch_of_the_largest_usual_size_is_created_and_read_in_order(harness: Harness) -> None:
    batch = new_batch(1_000)
    tasks = tasks_of(batch, await harness.store.create(batch))

    records = await harness.store.read([task.ref for task in tasks])

    assert [record.ref for record in records] == [task.ref for task in tasks]
    assert [record.custom_id for record in records] == [task.custom_id for task in batch.tasks]


async def test_an_unknown_batch_is_none_and_stays_unknown(harness: Harness) -> None:
    # Its messages rebuild it: that it was lost takes nothing back.
    assert await harness.store.mark_accepted(TENANT, KEYED_ID, START_MS)
    await harness.store.mark_unsent(TENANT, KEYED_ID, START_MS)

    assert await harness.store.read_batch(TENANT, KEYED_ID) is None


async def test_another_tenant_sees_nothing_of_a_batch(harness: Harness) -> None:
    batch = new_batch(1)
    await harness.store.create(batch)

    assert await harness.store.read_batch("rival", batch.batch_id) is None
    assert await harness.store.read([TaskRef("rival", batch.batch_id, 0)]) == [None]
    assert await harness.store.cancel([TaskRef("rival", batch.batch_id, 0)]) == [EndOutcome.MISSING]


@pytest.mark.parametrize("tenant", ["a/b", "a}b{c", "}", "{}", "Zoë", "%7D", "\ud800"])
async def test_any_name_of_a_tenant_keeps_its_batch_together(harness: Harness, tenant: str) -> None:
    batch = new_batch(3, tenant=tenant)
    tasks = tasks_of(batch, await accepted(harness.store, batch))

    assert (await harness.store.claim(lease_of(tasks[2]))).outcome is ClaimOutcome.CLAIMED
    found = await harness.store.read_batch(tenant, batch.batch_id)
    assert [record.status for record in await harness.store.read(found.refs())] == [
        TaskStatus.QUEUED,
        TaskStatus.QUEUED,
        TaskStatus.PROCESSING,
    ]


async def test_a_random_id_that_comes_again_is_the_same_call(harness: Harness) -> None:
    batch = new_batch()
    created = await harness.store.create(batch)
    await harness.advance(5)

    assert await harness.store.create(batch) == created


async def test_a_repeat_while_the_first_call_is_sending_is_told_so(harness: Harness) -> None:
    await harness.store.create(KEYED)
    await harness.advance(SENDING_LEASE_MS - 1)

    assert await harness.store.create(KEYED) == Created(CreateOutcome.SENDING, START_MS, DEADLINE_MS)


async def test_a_repeat_after_the_first_call_died_sends_again_with_the_first_times(harness: Harness) -> None:
    await harness.store.create(KEYED)
    await harness.advance(SENDING_LEASE_MS)

    assert await harness.store.create(KEYED) == Created(
        CreateOutcome.UNSENT, START_MS, DEADLINE_MS, START_MS + 2 * SENDING_LEASE_MS
    )
    # The repeat holds the sending lease now.
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.SENDING


async def test_a_repeat_after_a_failed_send_sends_again_at_once(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    await harness.store.mark_unsent(TENANT, KEYED_ID, created.sending_until_ms)

    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.UNSENT


async def test_sending_again_keeps_what_tasks_have_become_and_rebuilds_lost_ones(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    tasks = tasks_of(KEYED, created)
    await harness.store.cancel([tasks[0].ref])
    await harness.lose(tasks[1].ref)
    await harness.store.mark_unsent(TENANT, KEYED_ID, created.sending_until_ms)

    await harness.store.create(KEYED)

    cancelled, rebuilt = await harness.store.read([task.ref for task in tasks])
    assert cancelled.status is TaskStatus.CANCELLED
    assert rebuilt.status is TaskStatus.QUEUED
    assert rebuilt.custom_id == "item-1"
    assert (rebuilt.created_ms, rebuilt.expires_ms) == (START_MS, DEADLINE_MS + RETENTION_MS)


async def test_creating_a_batch_that_alone_was_lost_keeps_what_its_tasks_have_become(harness: Harness) -> None:
    tasks = tasks_of(KEYED, await harness.store.create(KEYED))
    await harness.store.cancel([tasks[0].ref])
    before = await harness.store.read([task.ref for task in tasks])
    await harness.lose_batch(TENANT, KEYED_ID)
    await harness.advance(5)

    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.CREATED
    assert await harness.store.read([task.ref for task in tasks]) == before


async def test_a_repeat_of_an_accepted_request_is_accepted(harness: Harness) -> None:
    created = await accepted(harness.store, KEYED)
    await harness.store.mark_unsent(TENANT, KEYED_ID, created.sending_until_ms)
    await harness.advance(SENDING_LEASE_MS)

    assert await harness.store.create(KEYED) == Created(CreateOutcome.ACCEPTED, START_MS, DEADLINE_MS)


@pytest.mark.parametrize(
    "other",
    [
        new_batch(batch_id=KEYED_ID, digest="digest-of-another-body"),
        new_batch(3, batch_id=KEYED_ID, digest=KEYED.digest),
        new_batch(batch_id=KEYED_ID, digest=None),
    ],
    ids=["another digest", "another size", "no digest"],
)
async def test_another_request_under_the_same_key_is_a_conflict_and_changes_nothing(
    harness: Harness, other: object
) -> None:
    created = await harness.store.create(KEYED)
    tasks = tasks_of(KEYED, created)
    await harness.store.mark_unsent(TENANT, KEYED_ID, created.sending_until_ms)
    before = await harness.store.read([task.ref for task in tasks])

    assert (await harness.store.create(other)).outcome is CreateOutcome.CONFLICT
    assert await harness.store.read([task.ref for task in tasks]) == before
    assert await harness.store.read([TaskRef(TENANT, KEYED_ID, 2)]) == [None]
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.UNSENT


async def test_a_batch_rebuilt_from_a_message_takes_the_request_that_comes_with_its_key(harness: Harness) -> None:
    # GIVEN a keyed batch that Redis lost and a message rebuilt
    tasks = tasks_of(KEYED, await harness.store.create(KEYED))
    await harness.lose_batch(TENANT, KEYED_ID)
    await harness.store.claim(lease_of(tasks[0]))
    found = await harness.store.read_batch(TENANT, KEYED_ID)
    assert found == BatchRecord(TENANT, KEYED_ID, 2, START_MS, DEADLINE_MS, DEADLINE_MS + RETENTION_MS)

    # WHEN its request is repeated THEN it is sent again, and another request is refused from then on
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.UNSENT
    other = replace(KEYED, digest="digest-of-another-body")
    assert (await harness.store.create(other)).outcome is CreateOutcome.CONFLICT


async def test_a_batch_is_gone_after_its_retention(harness: Harness) -> None:
    tasks = tasks_of(KEYED, await harness.store.create(KEYED))
    await harness.advance(DEADLINE_IN_MS + RETENTION_MS)

    assert await harness.store.read_batch(TENANT, KEYED_ID) is None
    assert await harness.store.read([task.ref for task in tasks]) == [None, None]
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.CREATED


# ─── Nothing that was not accepted is worked on ──────────────────────────────────────────────────────────────────────


async def test_a_task_waits_while_its_call_may_still_be_accepted(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    task, _ = tasks_of(KEYED, created)
    await harness.advance(10)

    waits = Claim(ClaimOutcome.UNACCEPTED, now_ms=START_MS + 10, wait_ms=SENDING_LEASE_MS - 10)
    assert await harness.store.claim(lease_of(task)) == waits
    assert (await read_one(harness, task.ref)).status is TaskStatus.QUEUED

    assert await harness.store.mark_accepted(TENANT, KEYED_ID, created.sending_until_ms)
    assert await harness.store.claim(lease_of(task)) == Claim(ClaimOutcome.CLAIMED, 1, START_MS + 10)


@pytest.mark.parametrize("has_died", [False, True], ids=["the call gave up", "the call died"])
async def test_a_message_of_a_call_that_is_never_accepted_is_dropped_and_its_repeat_sends_it_again(
    harness: Harness, *, has_died: bool
) -> None:
    created = await harness.store.create(KEYED)
    task, _ = tasks_of(KEYED, created)
    if has_died:
        await harness.advance(SENDING_LEASE_MS)
    else:
        await harness.store.mark_unsent(TENANT, KEYED_ID, created.sending_until_ms)
    before = await read_one(harness, task.ref)

    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.NOT_ACCEPTED
    assert await read_one(harness, task.ref) == before

    again = await harness.store.create(KEYED)
    assert again.outcome is CreateOutcome.UNSENT
    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.UNACCEPTED
    assert await harness.store.mark_accepted(TENANT, KEYED_ID, again.sending_until_ms)
    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.CLAIMED


async def test_a_batch_whose_message_was_dropped_is_accepted_by_a_repeat_only(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    task, _ = tasks_of(KEYED, created)
    await harness.advance(SENDING_LEASE_MS)
    await harness.store.claim(lease_of(task))

    assert not await harness.store.mark_accepted(TENANT, KEYED_ID, created.sending_until_ms)
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.UNSENT


async def test_a_call_whose_sending_another_took_over_neither_accepts_nor_ends_it(harness: Harness) -> None:
    first = await harness.store.create(KEYED)
    await harness.advance(SENDING_LEASE_MS)
    second = await harness.store.create(KEYED)

    assert not await harness.store.mark_accepted(TENANT, KEYED_ID, first.sending_until_ms)
    await harness.store.mark_unsent(TENANT, KEYED_ID, first.sending_until_ms)
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.SENDING

    assert await harness.store.mark_accepted(TENANT, KEYED_ID, second.sending_until_ms)
    # Then it is the truth for the first one too.
    assert await harness.store.mark_accepted(TENANT, KEYED_ID, first.sending_until_ms)


async def test_a_call_may_be_accepted_late_where_nobody_has_given_it_up(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    await harness.advance(SENDING_LEASE_MS)

    assert await harness.store.mark_accepted(TENANT, KEYED_ID, created.sending_until_ms)


async def test_a_batch_that_was_rebuilt_counts_as_accepted(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    task, other = tasks_of(KEYED, created)
    await harness.lose_batch(TENANT, KEYED_ID)

    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.CLAIMED

    # Also while a repeat of its request sends it again, and whatever comes of that.
    again = await harness.store.create(KEYED)
    assert again.outcome is CreateOutcome.UNSENT
    assert (await harness.store.claim(lease_of(other))).outcome is ClaimOutcome.CLAIMED
    await harness.store.mark_unsent(TENANT, KEYED_ID, again.sending_until_ms)
    assert await harness.store.mark_accepted(TENANT, KEYED_ID, created.sending_until_ms)
    assert (await harness.store.create(KEYED)).outcome is CreateOutcome.ACCEPTED


async def test_what_was_taken_back_has_ended_whether_accepted_or_not(harness: Harness) -> None:
    batch = new_batch(1)
    (task,) = tasks_of(batch, await harness.store.create(batch))
    await harness.store.cancel([task.ref], FailureCode.NOT_ACCEPTED)

    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.ENDED


async def test_a_task_that_was_not_accepted_does_not_fail_by_its_deadline_at_a_worker(harness: Harness) -> None:
    created = await harness.store.create(KEYED)
    task, _ = tasks_of(KEYED, created)
    await harness.advance(DEADLINE_IN_MS)

    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.NOT_ACCEPTED
