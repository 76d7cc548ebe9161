"""A task leaves its tenant's backlog with its message, and not before."""

import pytest

from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.errors import ModelBusy, StoreUnavailable
from common.domain.task import FailureCode, TaskRef
from common.domain.transitions import Lease
from tests.fakes import FakeBacklog
from tests.unit.worker.stage import EPOCH_MS, Stage, raises


def given(stage: Stage, tasks: int) -> FakeBacklog:
    """Put a backlog of so many tasks on the stage."""
    backlog = FakeBacklog(lambda: EPOCH_MS)
    stage.runner.run(backlog.reserve("acme", BacklogQueue.TASKS, "0" * 36, tasks, QueueLimit(0, 100, 50)))
    stage.worker._backlog = backlog
    return backlog


def ref_of(stage: Stage, prompt: str) -> TaskRef:
    return stage.task(prompt).ref


def test_what_is_done_leaves_the_backlog_and_what_comes_back_stays(stage: Stage) -> None:
    stage.model.scripts["limited"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=20))
    backlog = given(stage, 3)
    deliveries = [stage.delivery(prompt) for prompt in ("one", "limited", "two")]

    stage.work(*deliveries)

    assert backlog.held("acme") == [ref_of(stage, "limited")]


def test_a_copy_that_was_sent_anew_keeps_its_place(stage: Stage) -> None:
    stage.model.scripts["limited"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=20))
    backlog = given(stage, 1)

    stage.work(stage.delivery("limited", receives=2))

    assert list(stage.queue.sent) == ["limited"]
    assert backlog.held("acme") == [ref_of(stage, "limited")]


def test_a_task_that_was_cancelled_leaves_the_backlog_when_its_message_is_received(stage: Stage) -> None:
    backlog = given(stage, 1)
    stage.runner.run(stage.store.claim(Lease(stage.task("one"), "owner", 60_000, 3)))
    stage.runner.run(stage.store.cancel([ref_of(stage, "one")]))
    assert backlog.held("acme") == [ref_of(stage, "one")]

    stage.work(stage.delivery("one"))

    assert backlog.held("acme") == []


def test_a_backlog_that_cannot_be_told_brings_no_message_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable

    backlog = given(stage, 1)
    monkeypatch.setattr(backlog, "remove", fail)

    assert stage.work(stage.delivery("one")) == []
