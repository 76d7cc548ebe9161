"""The contract of read, and that text comes back as it went."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.domain.task import Answer, FailureCode, TaskSpec, TaskStatus, Usage, new_batch_id
from common.domain.transitions import ProgressNote
from common.runtime.settings import RedisSettings
from common.store.scripts import Scripts, read_sources
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    LEASE_MS,
    RETENTION_MS,
    START_MS,
    TENANT,
    Harness,
    lease_of,
    new_batch,
    read_one,
    submitted,
    tasks_of,
    valkey_harness,
)
from tests.store import accepted

ANSWER = Answer("A penguin walks into a bar.", "stop", Usage(1, 2, 3))
ANY_TEXT = st.text(st.characters(codec=None, categories=None))
"""Any string of Python, lone surrogates and NUL included."""

COUNTS = st.integers(0, 2**53)


async def test_records_come_in_the_order_asked_from_any_batches_with_repeats(harness: Harness) -> None:
    one, other = new_batch(30), new_batch(30, batch_id=new_batch_id(START_MS, b"\x01" * 16))
    left = tasks_of(one, await harness.store.create(one))
    right = tasks_of(other, await harness.store.create(other))
    unknown = replace(left[0].ref, index=99)
    asked = [ref for pair in zip(left, reversed(right), strict=True) for ref in (pair[0].ref, unknown, pair[1].ref)]
    asked += asked[:7]

    records = await harness.store.read(asked)

    assert [record.ref if record else unknown for record in records] == asked
    assert sum(record is None for record in records) == asked.count(unknown)
    assert await harness.store.read([]) == []


async def test_a_read_without_text_has_all_but_the_text(harness: Harness) -> None:
    done, running = await submitted(harness, 2)
    await harness.store.complete(lease_of(done), ANSWER)
    await harness.store.claim(lease_of(running))
    await harness.store.progress([ProgressNote(running.ref, "owner-a", 5, "A penguin", LEASE_MS)])
    refs = [done.ref, running.ref]

    full = await harness.store.read(refs)
    light = await harness.store.read(refs, with_text=False)

    assert (full[0].answer, full[1].partial) == (ANSWER, "A penguin")
    assert light == [replace(record, answer=None, partial=None) for record in full]


async def test_a_read_fails_what_is_past_its_deadline_as_of_then(harness: Harness) -> None:
    queued, running, done = await submitted(harness, 3)
    await harness.store.claim(lease_of(running))
    await harness.store.progress([ProgressNote(running.ref, "owner-a", 5, "A penguin", LEASE_MS)])
    await harness.store.complete(lease_of(done), ANSWER)
    refs = [queued.ref, running.ref, done.ref]
    await harness.advance(DEADLINE_IN_MS - 1)
    assert [record.status for record in await harness.store.read(refs)] == [
        TaskStatus.QUEUED,
        TaskStatus.PROCESSING,
        TaskStatus.COMPLETED,
    ]

    await harness.advance(1_001)

    records = await harness.store.read(refs)
    for record in records[:2]:
        assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEADLINE_EXCEEDED)
        assert (record.ended_ms, record.expires_ms) == (queued.deadline_ms, queued.deadline_ms + RETENTION_MS)
        assert (record.partial, record.waiting_on) == (None, None)
    assert [record.progress for record in records] == [0, 5, 100]
    assert records[2].status is TaskStatus.COMPLETED
    assert await harness.store.read(refs) == records


async def test_a_record_is_gone_after_its_retention(harness: Harness) -> None:
    early, late = await submitted(harness, 2)
    await harness.store.complete(lease_of(early), ANSWER)

    await harness.advance(RETENTION_MS - 1)
    assert (await read_one(harness, early.ref)).answer == ANSWER
    await harness.advance(1)

    records = await harness.store.read([early.ref, late.ref])
    assert [record and record.status for record in records] == [None, TaskStatus.FAILED]


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    partial=ANY_TEXT,
    custom_id=st.none() | ANY_TEXT,
    model=ANY_TEXT,
    text=ANY_TEXT,
    finish_reason=st.none() | ANY_TEXT,
    usage=st.none() | st.builds(Usage, COUNTS, COUNTS, COUNTS),
)
@example(partial="\ud83d\ude00", custom_id="", model="\x00", text="\udfff\ud800 =\n\x00", finish_reason="", usage=None)
@example(partial="", custom_id=None, model="m", text="", finish_reason=None, usage=None)
async def test_any_text_comes_back_equal(
    harness: Harness,
    *,
    partial: str,
    custom_id: str | None,
    model: str,
    text: str,
    finish_reason: str | None,
    usage: Usage | None,
) -> None:
    batch = replace(new_batch(1), tasks=(TaskSpec(model, custom_id),))
    await harness.lose_batch(TENANT, batch.batch_id)
    (task,) = tasks_of(batch, await accepted(harness.store, batch))
    queued = await read_one(harness, task.ref)

    # The claim rebuilds the record from the message.
    await harness.lose(task.ref)
    await harness.store.claim(lease_of(task))
    await harness.store.progress([ProgressNote(task.ref, "owner-a", 1, partial, LEASE_MS)])
    running = await read_one(harness, task.ref)
    answer = Answer(text, finish_reason, usage)
    await harness.store.complete(lease_of(task), answer)
    done = await read_one(harness, task.ref)

    assert (queued.custom_id, queued.model) == (custom_id, model)
    assert (running.partial, running.custom_id, running.model) == (partial, custom_id, model)
    assert done.answer == answer
    await harness.lose(task.ref)


async def test_the_products_own_clock_is_the_servers(valkey: RedisSettings) -> None:
    async with valkey_harness(valkey, Scripts(read_sources())) as harness:
        before = await harness.client.time()
        (task,) = await submitted(harness)
        after = await harness.client.time()

    assert before[0] * 1_000 + before[1] // 1_000 <= task.created_ms <= after[0] * 1_000 + after[1] // 1_000
    assert task.deadline_ms == task.created_ms + DEADLINE_IN_MS
