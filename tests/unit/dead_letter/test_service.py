"""Test the outcomes of dead letters."""

from dataclasses import replace
from typing import Any, override

import pytest

from common.domain.backlog import QueueLimit
from common.domain.errors import StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.request import Kind, Request
from common.domain.task import Answer, FailureCode, Task, TaskRef, TaskStatus
from common.domain.transitions import EndOutcome, Lease
from common.kinds.registry import registration_of
from functions.dead_letter.service import DeadLetter, DeadLetterOutcome, process_dead_letters
from tests.fakes import FakeBacklog, FakeStore

NOW_MS = 1_800_000_000_000
TASK = Task(
    ref=TaskRef("acme", "0" * 36, 0),
    batch_size=1,
    created_ms=NOW_MS,
    deadline_ms=NOW_MS + 3_600_000,
    retention_ms=86_400_000,
    model="gpt-test",
)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(lambda: NOW_MS)


def record_of(task: Task, message_id: str = "message-1") -> dict[str, Any]:
    return {"messageId": message_id, "body": TaskMessage(task, Request(task.kind, {"topic": "?"})).encode()}


async def test_a_task_that_was_given_up_fails_and_its_message_goes(store: FakeStore) -> None:
    letters = await process_dead_letters([record_of(TASK)], store, FakeBacklog(lambda: NOW_MS))

    assert letters == [DeadLetter("message-1", DeadLetterOutcome.FAILED, TASK.ref.task_id)]
    assert letters[0].kind.is_done
    [record] = await store.read([TASK.ref])
    assert record is not None
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEAD_LETTER)
    assert await store.load_requests([TASK.ref]) == [record_of(TASK)["body"]]


async def test_a_task_that_had_ended_keeps_its_end_and_its_message_goes(store: FakeStore) -> None:
    await store.complete(Lease(TASK, "worker", 1000, 3), Answer("fine", "stop"))

    letters = await process_dead_letters([record_of(TASK)], store, FakeBacklog(lambda: NOW_MS))

    assert letters[0].kind is DeadLetterOutcome.ALREADY
    assert letters[0].kind.is_done
    [record] = await store.read([TASK.ref])
    assert record is not None
    assert record.status is TaskStatus.COMPLETED


async def test_a_task_that_a_worker_may_be_at_stays(store: FakeStore) -> None:
    await store.claim(Lease(TASK, "worker", 1000, 3))

    letters = await process_dead_letters([record_of(TASK)], store, FakeBacklog(lambda: NOW_MS))

    assert letters[0].kind is DeadLetterOutcome.BUSY
    assert not letters[0].kind.is_done


async def test_without_the_store_every_message_stays() -> None:
    class Down(FakeStore):
        @override
        async def dead_letter(self, task: Task, code: FailureCode = FailureCode.DEAD_LETTER) -> EndOutcome:
            raise StoreUnavailable

    letters = await process_dead_letters([record_of(TASK)], Down(lambda: NOW_MS), FakeBacklog(lambda: NOW_MS))

    assert letters[0].kind is DeadLetterOutcome.UNAVAILABLE
    assert not letters[0].kind.is_done


@pytest.mark.parametrize("body", ["no json", "{}", '{"v": 99}'])
async def test_a_message_that_nobody_can_read_stays_as_evidence_and_the_others_go(store: FakeStore, body: str) -> None:
    odd = {"messageId": "odd", "body": body}

    letters = await process_dead_letters([odd, record_of(TASK)], store, FakeBacklog(lambda: NOW_MS))

    assert letters[0] == DeadLetter("odd", DeadLetterOutcome.UNREADABLE)
    assert not letters[0].kind.is_done
    assert letters[1].kind.is_done


@pytest.mark.parametrize("kind", Kind)
async def test_a_letter_has_left_its_queue_and_its_tenants_share_of_it(store: FakeStore, kind: Kind) -> None:
    backlog, queue = FakeBacklog(lambda: NOW_MS), registration_of(kind).queue
    await backlog.reserve("acme", queue, TASK.ref.batch_id, 2, QueueLimit(0, 10, 50))

    await process_dead_letters([record_of(replace(TASK, kind=kind))], store, backlog)

    assert backlog.held("acme", queue) == [replace(TASK.ref, index=1)]


async def test_a_place_that_cannot_be_given_back_keeps_no_letter(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable

    backlog = FakeBacklog(lambda: NOW_MS)
    monkeypatch.setattr(backlog, "remove", fail)

    [letter] = await process_dead_letters([record_of(TASK)], store, backlog)

    assert letter.kind is DeadLetterOutcome.FAILED
