"""The contract of claim, release and progress."""

from dataclasses import replace

import pytest

from common.domain.rate_limits import RefusalCause
from common.domain.task import Answer, Attempt, FailureCode, TaskStatus, WaitingOn
from common.domain.transitions import Claim, ClaimOutcome, EndOutcome, Lease, ProgressNote, Release, ReleaseOutcome
from common.store.keys import LATE_CLAIM_WAIT_MS, PROGRESS_CHUNK
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    LEASE_MS,
    MAX_ATTEMPTS,
    RETENTION_MS,
    START_MS,
    Harness,
    lease_of,
    new_batch,
    read_one,
    submitted,
    tasks_of,
)
from tests.store import accepted

ANSWER = Answer("Why did the economy cross the road?", "stop")


async def release(
    harness: Harness,
    lease: Lease,
    *,
    refund: bool = False,
    code: FailureCode | None = FailureCode.TIMEOUT,
    refused_by: RefusalCause | None = None,
) -> ReleaseOutcome:
    outcome = await harness.store.release(
        lease, Release(refund=refund, code=code, waiting_on=WaitingOn.PROVIDER, refused_by=refused_by)
    )
    assert isinstance(outcome, ReleaseOutcome)
    return outcome


async def test_a_claim_takes_a_queued_task(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.advance(10)

    claim = await harness.store.claim(lease_of(task))

    assert claim == Claim(ClaimOutcome.CLAIMED, attempt=1, now_ms=START_MS + 10)
    record = await read_one(harness, task.ref)
    assert (record.status, record.progress) == (TaskStatus.PROCESSING, 0)
    assert record.attempts == (Attempt(START_MS + 10),)
    assert (record.started_ms, record.updated_ms, record.ended_ms) == (START_MS + 10, START_MS + 10, None)
    assert (record.waiting_on, record.partial) == (None, None)


async def test_a_claim_repeated_by_its_owner_changes_nothing(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, "Why did", LEASE_MS)])
    before = await read_one(harness, task.ref)
    await harness.advance(LEASE_MS - 1)

    assert await harness.store.claim(lease_of(task)) == Claim(ClaimOutcome.CLAIMED, 1, START_MS + LEASE_MS - 1)
    assert await read_one(harness, task.ref) == before
    # The lease still ends when the first call said.
    await harness.advance(1)
    assert (await harness.store.claim(lease_of(task, "owner-b"))).outcome is ClaimOutcome.CLAIMED


async def test_a_live_lease_makes_others_wait_for_what_is_left_of_it(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.advance(5_000)

    busy = await harness.store.claim(lease_of(task, "owner-b"))

    assert busy == Claim(ClaimOutcome.BUSY, 1, START_MS + 5_000, wait_ms=LEASE_MS - 5_000)
    assert len((await read_one(harness, task.ref)).attempts) == 1


async def test_a_lease_that_is_over_is_taken_by_the_next_claim(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, "Why did", LEASE_MS)])
    await harness.advance(LEASE_MS)

    claim = await harness.store.claim(lease_of(task, "owner-b"))

    assert claim == Claim(ClaimOutcome.CLAIMED, 2, START_MS + LEASE_MS)
    record = await read_one(harness, task.ref)
    assert (record.progress, record.partial) == (0, None)
    assert record.attempts == (
        Attempt(START_MS, START_MS + LEASE_MS, FailureCode.WORKER_LOST),
        Attempt(harness.now_ms),
    )
    assert record.started_ms == START_MS
    assert record.updated_ms == START_MS + LEASE_MS


async def test_a_lease_that_is_over_is_not_taken_again_by_a_late_copy_of_its_own_claim(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.advance(LEASE_MS)

    late = await harness.store.claim(lease_of(task))

    assert late == Claim(ClaimOutcome.BUSY, 1, START_MS + LEASE_MS, wait_ms=LATE_CLAIM_WAIT_MS)


async def test_a_late_copy_of_a_claim_does_not_take_back_what_its_owner_released(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await release(harness, lease_of(task))
    before = await read_one(harness, task.ref)

    late = await harness.store.claim(lease_of(task))

    assert late == Claim(ClaimOutcome.BUSY, 1, START_MS, wait_ms=LATE_CLAIM_WAIT_MS)
    assert await read_one(harness, task.ref) == before


async def test_leases_that_run_out_use_up_the_attempts(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task, "owner-1"))
    await release(harness, lease_of(task, "owner-1"), code=FailureCode.STREAM_CUT)
    for attempt in range(2, MAX_ATTEMPTS + 1):
        claim = await harness.store.claim(lease_of(task, f"owner-{attempt}"))
        assert (claim.outcome, claim.attempt) == (ClaimOutcome.CLAIMED, attempt)
        await harness.advance(LEASE_MS)
    ended_ms = harness.now_ms

    claim = await harness.store.claim(lease_of(task, "owner-z"))

    expected = Claim(ClaimOutcome.ENDED, MAX_ATTEMPTS, ended_ms, code=FailureCode.ATTEMPTS_EXHAUSTED)
    assert claim == expected
    assert await harness.store.claim(lease_of(task, "owner-z")) == expected
    assert (await harness.store.claim(lease_of(task, "owner-y"))).code is None
    record = await read_one(harness, task.ref)
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.ATTEMPTS_EXHAUSTED)
    assert record.last_code is FailureCode.WORKER_LOST
    assert (record.ended_ms, record.expires_ms) == (ended_ms, ended_ms + RETENTION_MS)


async def test_a_claim_of_an_ended_task_says_so(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.store.complete(lease_of(task), ANSWER)
    before = await read_one(harness, task.ref)
    await harness.advance(LEASE_MS)

    assert await harness.store.claim(lease_of(task, "owner-b")) == Claim(ClaimOutcome.ENDED, 1, harness.now_ms)
    assert await read_one(harness, task.ref) == before


@pytest.mark.parametrize("late_ms", [0, RETENTION_MS - 1], ids=["at the deadline", "long after it"])
async def test_a_claim_past_the_deadline_fails_the_task_as_of_then(harness: Harness, late_ms: int) -> None:
    (task,) = await submitted(harness)
    await harness.advance(DEADLINE_IN_MS + late_ms)

    claim = await harness.store.claim(lease_of(task))

    assert claim == Claim(ClaimOutcome.ENDED, 0, harness.now_ms, code=FailureCode.DEADLINE_EXCEEDED)
    record = await read_one(harness, task.ref)
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEADLINE_EXCEEDED)
    assert (record.ended_ms, record.expires_ms) == (task.deadline_ms, task.deadline_ms + RETENTION_MS)
    assert (record.started_ms, record.waiting_on) == (None, None)


async def test_a_claim_just_before_the_deadline_is_given(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.advance(DEADLINE_IN_MS - 1)

    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.CLAIMED


async def test_a_claim_rebuilds_a_lost_record_and_its_batch_from_the_message(harness: Harness) -> None:
    tasks = await submitted(harness, 2)
    before = await read_one(harness, tasks[1].ref)
    batch = await harness.store.read_batch(before.ref.tenant, before.ref.batch_id)
    await harness.lose(before.ref)
    await harness.lose_batch(before.ref.tenant, before.ref.batch_id)

    assert (await harness.store.claim(lease_of(tasks[1]))).attempt == 1

    record = await read_one(harness, before.ref)
    assert record.status is TaskStatus.PROCESSING
    for name in ("created_ms", "deadline_ms", "expires_ms", "model", "custom_id"):
        assert getattr(record, name) == getattr(before, name)
    rebuilt = await harness.store.read_batch(before.ref.tenant, before.ref.batch_id)
    assert rebuilt == replace(batch, is_accepted=False)  # which no message knows


async def test_a_claim_of_a_task_that_has_had_its_time_writes_nothing(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.advance(DEADLINE_IN_MS + RETENTION_MS)

    assert await harness.store.claim(lease_of(task)) == Claim(ClaimOutcome.ENDED, now_ms=harness.now_ms)
    assert await harness.store.read([task.ref]) == [None]
    assert await harness.store.read_batch(task.ref.tenant, task.ref.batch_id) is None


async def test_a_release_queues_the_task_with_its_attempt_counted(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, "Why did", LEASE_MS)])
    await harness.advance(7)

    assert await release(harness, lease_of(task)) is ReleaseOutcome.RELEASED

    record = await read_one(harness, task.ref)
    assert record.status is TaskStatus.QUEUED
    assert record.attempts == (Attempt(START_MS, START_MS + 7, FailureCode.TIMEOUT),)
    assert (record.progress, record.partial) == (0, None)
    assert (record.last_code, record.code) == (FailureCode.TIMEOUT, None)
    assert (record.waiting_on, record.updated_ms) == (WaitingOn.PROVIDER, START_MS + 7)
    assert (await harness.store.claim(lease_of(task, "owner-b"))).attempt == 2
    assert (await read_one(harness, task.ref)).waiting_on is None


async def test_a_release_with_a_refund_gives_the_attempt_back_once(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task, "owner-a"))
    await release(harness, lease_of(task, "owner-a"))
    await harness.store.claim(lease_of(task, "owner-b"))

    for _ in range(3):
        assert await release(harness, lease_of(task, "owner-b"), refund=True, code=None) is ReleaseOutcome.RELEASED
    record = await read_one(harness, task.ref)
    assert record.attempts == (Attempt(START_MS, START_MS, FailureCode.TIMEOUT),)
    assert record.last_code is FailureCode.TIMEOUT


async def test_waiting_with_a_refund_never_uses_up_the_attempts(harness: Harness) -> None:
    (task,) = await submitted(harness)
    for turn in range(3 * MAX_ATTEMPTS):
        claim = await harness.store.claim(lease_of(task, f"owner-{turn}"))
        assert (claim.outcome, claim.attempt) == (ClaimOutcome.CLAIMED, 1)
        outcome = await release(harness, lease_of(task, f"owner-{turn}"), refund=True, code=FailureCode.RATE_LIMITED)
        assert outcome is ReleaseOutcome.RELEASED


async def test_refusals_are_counted_with_and_without_a_refund_and_never_forgotten(harness: Harness) -> None:
    (task,) = await submitted(harness)
    model, own = RefusalCause.MODEL, RefusalCause.TASK

    counts = []
    for turn, (refund, cause) in enumerate([(True, own), (False, model), (True, None), (False, own), (True, model)]):
        lease = lease_of(task, f"owner-{turn}")
        claim = await harness.store.claim(lease)
        counts.append((claim.refusals, claim.own_refusals))
        for _ in range(2):  # its repeat counts nothing
            await release(harness, lease, refund=refund, refused_by=cause, code=FailureCode.RATE_LIMITED)
    claim = await harness.store.claim(lease_of(task, "last"))
    counts.append((claim.refusals, claim.own_refusals))

    assert counts == [(0, 0), (1, 1), (2, 1), (2, 1), (3, 2), (4, 2)]


async def test_a_refund_of_the_last_attempt_leaves_it_to_the_next_claim(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task, max_attempts=1))

    released = await release(harness, lease_of(task, max_attempts=1), refund=True)
    claim = await harness.store.claim(lease_of(task, "owner-b", max_attempts=1))

    assert released is ReleaseOutcome.RELEASED
    assert (claim.outcome, claim.attempt) == (ClaimOutcome.CLAIMED, 1)


async def test_a_release_of_the_last_attempt_fails_the_task(harness: Harness) -> None:
    (task,) = await submitted(harness)
    for attempt in range(1, MAX_ATTEMPTS):
        await harness.store.claim(lease_of(task, f"owner-{attempt}"))
        assert await release(harness, lease_of(task, f"owner-{attempt}")) is ReleaseOutcome.RELEASED
    last = lease_of(task, "owner-z")
    await harness.store.claim(last)

    for _ in range(2):
        assert await release(harness, last, code=FailureCode.SERVER_ERROR) is ReleaseOutcome.EXHAUSTED
    record = await read_one(harness, task.ref)
    assert record.status is TaskStatus.FAILED
    assert [attempt.code for attempt in record.attempts] == [
        *[FailureCode.TIMEOUT] * (MAX_ATTEMPTS - 1),
        FailureCode.SERVER_ERROR,
    ]
    assert (record.code, record.last_code) == (FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.SERVER_ERROR)
    assert (record.ended_ms, record.waiting_on) == (START_MS, None)


async def test_only_the_owner_can_release(harness: Harness) -> None:
    (task,) = await submitted(harness)
    assert await release(harness, lease_of(task)) is ReleaseOutcome.LOST
    await harness.store.claim(lease_of(task))
    before = await read_one(harness, task.ref)

    assert await release(harness, lease_of(task, "owner-b")) is ReleaseOutcome.LOST
    assert await read_one(harness, task.ref) == before
    await harness.lose(task.ref)
    assert await release(harness, lease_of(task)) is ReleaseOutcome.LOST
    assert await harness.store.read([task.ref]) == [None]


async def test_a_release_after_the_end_is_lost(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    assert await harness.store.complete(lease_of(task), ANSWER) is EndOutcome.ENDED

    assert await release(harness, lease_of(task)) is ReleaseOutcome.LOST
    assert (await read_one(harness, task.ref)).answer == ANSWER


async def test_progress_is_noted_never_lowered_and_below_100(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.advance(1_000)

    for percent, partial, shown in [(40, "Why", 40), (10, "Why did", 40), (250, "Why did the", 99)]:
        assert await harness.store.progress([ProgressNote(task.ref, "owner-a", percent, partial, LEASE_MS)]) == [True]
        record = await read_one(harness, task.ref)
        assert (record.status, record.progress, record.partial) == (TaskStatus.PROCESSING, shown, partial)
        assert record.updated_ms == START_MS + 1_000


async def test_progress_of_many_tasks_is_answered_in_order(harness: Harness) -> None:
    # GIVEN the tasks of two batches, mixed, more than one script takes, every third of them nobody's
    one = await submitted(harness, PROGRESS_CHUNK + 1)
    batch = new_batch(4, tenant="rival")
    other = tasks_of(batch, await accepted(harness.store, batch))
    tasks = [*one[:3], *other, *one[3:]]
    held = [place % 3 != 0 for place in range(len(tasks))]
    for task, is_held in zip(tasks, held, strict=True):
        if is_held:
            await harness.store.claim(lease_of(task))

    # WHEN half of the answers have grown
    texts = [f"text {place}" if place % 2 else None for place in range(len(tasks))]
    notes = [ProgressNote(task.ref, "owner-a", 50, text, LEASE_MS) for task, text in zip(tasks, texts, strict=True)]

    # THEN each answer is about its own task, and each text in its own record
    assert await harness.store.progress(notes) == held
    assert await harness.store.progress([]) == []
    records = await harness.store.read([task.ref for task in tasks])
    assert [record.partial for record in records] == [
        text if is_held else None for text, is_held in zip(texts, held, strict=True)
    ]


async def test_progress_is_refused_where_the_task_is_no_longer_the_owners(harness: Harness) -> None:
    released, taken, cancelled = await submitted(harness, 3)
    for task in (released, taken, cancelled):
        await harness.store.claim(lease_of(task))
    await release(harness, lease_of(released))
    await harness.store.cancel([cancelled.ref])
    await harness.advance(LEASE_MS)
    await harness.store.claim(lease_of(taken, "owner-b"))
    refs = [task.ref for task in (released, taken, cancelled)]
    before = await harness.store.read(refs)

    notes = [ProgressNote(ref, "owner-a", 50, "late", LEASE_MS) for ref in refs]
    assert await harness.store.progress(notes) == [False] * 3
    assert await harness.store.read(refs) == before


async def test_progress_on_a_lost_record_goes_on_and_writes_nothing(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.lose(task.ref)

    assert await harness.store.progress([ProgressNote(task.ref, "owner-a", 50, "Why", LEASE_MS)]) == [True]
    assert await harness.store.read([task.ref]) == [None]


async def test_a_note_without_text_changes_nothing_that_is_read_and_tells_whose_the_task_is(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, "Why did", LEASE_MS)])
    before = await read_one(harness, task.ref)
    await harness.advance(1000)

    assert await harness.store.progress([ProgressNote(task.ref, "owner-a", 60, None, LEASE_MS)]) == [True]
    assert await read_one(harness, task.ref) == before

    await harness.store.cancel([task.ref])
    assert await harness.store.progress([ProgressNote(task.ref, "owner-a", 60, None, LEASE_MS)]) == [False]


@pytest.mark.parametrize("text", ["Why did", None])
async def test_each_note_renews_the_lease(harness: Harness, text: str | None) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.advance(LEASE_MS - 1)

    await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, text, 7_000)])

    busy = await harness.store.claim(lease_of(task, "owner-b"))
    assert (busy.outcome, busy.wait_ms) == (ClaimOutcome.BUSY, 7_000)
    await harness.advance(7_000)
    assert (await harness.store.claim(lease_of(task, "owner-b"))).outcome is ClaimOutcome.CLAIMED


async def test_a_lease_that_is_over_is_renewed_where_nobody_has_taken_it(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.advance(LEASE_MS + 1)

    assert await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, None, 7_000)]) == [True]

    assert (await harness.store.claim(lease_of(task, "owner-b"))).outcome is ClaimOutcome.BUSY


async def test_a_note_of_a_former_owner_renews_nothing(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.advance(LEASE_MS)
    await harness.store.claim(lease_of(task, "owner-b"))

    assert await harness.store.progress([ProgressNote(task.ref, "owner-a", 30, None, 3 * LEASE_MS)]) == [False]

    await harness.advance(LEASE_MS)
    assert (await harness.store.claim(lease_of(task, "owner-c"))).outcome is ClaimOutcome.CLAIMED


async def test_a_queued_task_is_told_what_it_waits_for_and_any_other_is_left_alone(harness: Harness) -> None:
    queued, running, done = await submitted(harness, 3)
    for task in (running, done):
        await harness.store.claim(lease_of(task))
    await harness.store.complete(lease_of(done), ANSWER)
    before = await harness.store.read([running.ref, done.ref])

    await harness.store.mark_waiting([queued.ref, running.ref, done.ref], WaitingOn.RATE_LIMIT)
    await harness.lose(queued.ref)
    await harness.store.mark_waiting([queued.ref], WaitingOn.RATE_LIMIT)

    assert await harness.store.read([running.ref, done.ref, queued.ref]) == [*before, None]


async def test_what_a_queued_task_waits_for_can_be_read_until_it_is_claimed(harness: Harness) -> None:
    (task,) = await submitted(harness)

    await harness.store.mark_waiting([task.ref], WaitingOn.RATE_LIMIT)

    assert (await read_one(harness, task.ref)).waiting_on is WaitingOn.RATE_LIMIT
    await harness.store.claim(lease_of(task))
    assert (await read_one(harness, task.ref)).waiting_on is None
