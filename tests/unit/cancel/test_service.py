"""Test cancellation: running tasks are cancelled, ended tasks do not change."""

import pytest

from common.domain.errors import NotFound
from common.domain.task import Answer, TaskRef, TaskStatus, new_batch_id
from common.domain.transitions import EndOutcome
from functions.cancel.service import AlreadyEnded, Cancellation
from tests.unit.stored_batch import BATCH, DEADLINE_IN_MS, StoredBatch


class Stage(StoredBatch):
    """A batch of three tasks, and what cancels them."""

    def __init__(self) -> None:
        super().__init__()
        self.cancellation = Cancellation(self.store, now_ms=lambda: self.now_ms)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_queued_task_is_cancelled_and_shown(stage: Stage) -> None:
    [task_id, *_] = await stage.create()

    body = await stage.cancellation.task("acme", task_id)

    assert (body["task_id"], body["status"], body["attempts"]) == (task_id, "cancelled", [])
    assert {"ended_at", "expires_at"} <= body.keys()


async def test_a_cancellation_can_be_repeated(stage: Stage) -> None:
    [task_id, *_] = await stage.create()

    first = await stage.cancellation.task("acme", task_id)
    stage.now_ms += 1_000

    assert await stage.cancellation.task("acme", task_id) == first


async def test_a_running_task_is_cancelled_and_its_late_result_is_refused(stage: Stage) -> None:
    [task_id, *_] = await stage.create()
    lease = await stage.claim(0)

    body = await stage.cancellation.task("acme", task_id)

    assert (body["status"], body["attempts"][0]["code"]) == ("cancelled", "cancelled")
    assert await stage.store.complete(lease, Answer("late", "stop")) is EndOutcome.ALREADY


async def test_a_task_that_has_ended_otherwise_stays_as_it_is(stage: Stage) -> None:
    done, _, late = await stage.create()
    await stage.complete(0)

    with pytest.raises(AlreadyEnded) as completed:
        await stage.cancellation.task("acme", done)
    stage.now_ms += DEADLINE_IN_MS
    with pytest.raises(AlreadyEnded) as failed:
        await stage.cancellation.task("acme", late)

    assert completed.value.members == {"task_status": "completed"}
    assert failed.value.members == {"task_status": "failed"}


async def test_a_batch_keeps_what_has_ended_and_loses_the_rest(stage: Stage) -> None:
    await stage.create()
    await stage.complete(0)
    await stage.claim(1)

    body = await stage.cancellation.batch("acme", BATCH)

    assert (body["status"], body["counts"]["completed"], body["counts"]["cancelled"]) == ("ended", 1, 2)
    assert "tasks" not in body
    assert await stage.cancellation.batch("acme", BATCH) == body


async def test_nobody_cancels_what_is_anothers(stage: Stage) -> None:
    [task_id, *_] = await stage.create()

    with pytest.raises(NotFound):
        await stage.cancellation.task("other", task_id)
    with pytest.raises(NotFound):
        await stage.cancellation.batch("other", BATCH)

    [record] = await stage.store.read([TaskRef("acme", BATCH, 0)])
    assert record is not None
    assert record.status is TaskStatus.QUEUED


@pytest.mark.parametrize("bad", ["", "x", BATCH, f"{BATCH}-9", f"{BATCH}-01"])
async def test_an_unknown_task_is_not_found(stage: Stage, bad: str) -> None:
    await stage.create()

    with pytest.raises(NotFound):
        await stage.cancellation.task("acme", bad)


@pytest.mark.parametrize("bad", ["", "x", f"{BATCH}-0", new_batch_id(2, bytes(16))])
async def test_an_unknown_batch_is_not_found(stage: Stage, bad: str) -> None:
    await stage.create()

    with pytest.raises(NotFound):
        await stage.cancellation.batch("acme", bad)
