"""What becomes of messages that the queue has given up."""

from typing import Any, override

import pytest

from common.errors import StoreUnavailable
from common.messages import TaskMessage
from common.tasks import Answer, FailureCode, Task, TaskRef, TaskStatus
from common.transitions import EndOutcome, Lease
from functions.dead_letter.service import Letter, LetterKind, read_letters
from tests.fakes import FakeStore

NOW_MS = 1_800_000_000_000
TASK = Task(TaskRef("acme", "0" * 36, 0), 1, NOW_MS, NOW_MS + 3_600_000, 86_400_000, "gpt-test")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(lambda: NOW_MS)


def record_of(task: Task, message_id: str = "message-1") -> dict[str, Any]:
    return {"messageId": message_id, "body": TaskMessage(task, [{"role": "user", "content": "?"}]).encode()}


async def test_a_task_that_was_given_up_fails_and_its_message_goes(store: FakeStore) -> None:
    letters = await read_letters([record_of(TASK)], store)

    assert letters == [Letter("message-1", LetterKind.FAILED, TASK.ref.task_id)]
    assert letters[0].kind.is_done
    [record] = await store.read([TASK.ref])
    assert record is not None
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEAD_LETTER)
    assert await store.requests([TASK.ref]) == [record_of(TASK)["body"]]


async def test_a_task_that_had_ended_keeps_its_end_and_its_message_goes(store: FakeStore) -> None:
    await store.complete(Lease(TASK, "worker", 1000, 3), Answer("fine", "stop"))

    letters = await read_letters([record_of(TASK)], store)

    assert letters[0].kind is LetterKind.ALREADY
    assert letters[0].kind.is_done
    [record] = await store.read([TASK.ref])
    assert record is not None
    assert record.status is TaskStatus.COMPLETED


async def test_a_task_that_a_worker_may_be_at_stays(store: FakeStore) -> None:
    await store.claim(Lease(TASK, "worker", 1000, 3))

    letters = await read_letters([record_of(TASK)], store)

    assert letters[0].kind is LetterKind.BUSY
    assert not letters[0].kind.is_done


async def test_without_the_store_every_message_stays() -> None:
    class Down(FakeStore):
        @override
        async def dead_letter(self, task: Task, code: FailureCode = FailureCode.DEAD_LETTER) -> EndOutcome:
            raise StoreUnavailable

    letters = await read_letters([record_of(TASK)], Down(lambda: NOW_MS))

    assert letters[0].kind is LetterKind.UNAVAILABLE
    assert not letters[0].kind.is_done


@pytest.mark.parametrize("body", ["no json", "{}", '{"v": 99}'])
async def test_a_message_that_nobody_can_read_stays_as_evidence_and_the_others_go(store: FakeStore, body: str) -> None:
    odd = {"messageId": "odd", "body": body}

    letters = await read_letters([odd, record_of(TASK)], store)

    assert letters[0] == Letter("odd", LetterKind.UNREADABLE)
    assert not letters[0].kind.is_done
    assert letters[1].kind.is_done
