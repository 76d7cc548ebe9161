"""Test the dead-letter function's handler end to end in one process."""

import secrets
import time
from types import ModuleType
from typing import Any

import pytest

from common.domain.errors import SettingError
from common.domain.message import TaskMessage
from common.domain.task import FailureCode, Task, TaskRef, TaskStatus, new_batch_id
from common.domain.transitions import Lease
from common.runtime.settings import RedisSettings
from tests.invocation import Context, started
from tests.requests import chat
from tests.store import on_store, record_of

CONTEXT = Context("dead_letter")


def new_task() -> Task:
    now_ms = time.time_ns() // 1_000_000
    ref = TaskRef("acme", new_batch_id(now_ms, secrets.token_bytes(16)), 0)
    return Task(
        ref=ref,
        batch_size=1,
        created_ms=now_ms,
        deadline_ms=now_ms + 3_600_000,
        retention_ms=86_400_000,
        model="gpt-test",
    )


def letter(task: Task) -> dict[str, Any]:
    body = TaskMessage(task, chat("Attack at dawn")).encode()
    return {"messageId": task.ref.task_id, "body": body, "attributes": {"ApproximateReceiveCount": "1"}}


def test_two_invocations_of_one_environment_fail_their_tasks(
    handler: ModuleType, valkey: RedisSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in (new_task(), new_task()):
        assert handler.lambda_handler({"Records": [letter(task)]}, CONTEXT) == {"batchItemFailures": []}

        record = record_of(valkey, task.ref)
        assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEAD_LETTER)
    assert "Attack" not in capsys.readouterr().out


def test_what_is_not_recorded_stays_and_the_rest_goes(handler: ModuleType, valkey: RedisSettings) -> None:
    given_up, running = new_task(), new_task()
    on_store(valkey, lambda store: store.claim(Lease(running, "worker", 60_000, 3)))
    odd = {"messageId": "odd", "body": "no json"}

    answer = handler.lambda_handler({"Records": [letter(running), odd, letter(given_up)]}, CONTEXT)

    assert answer == {"batchItemFailures": [{"itemIdentifier": running.ref.task_id}, {"itemIdentifier": "odd"}]}
    assert record_of(valkey, running.ref).status is TaskStatus.PROCESSING


def test_without_redis_every_letter_stays(settings: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    settings.setenv("REDIS_PORT", "1")
    handler: ModuleType = request.getfixturevalue("handler")
    task = new_task()

    answer = handler.lambda_handler({"Records": [letter(task)]}, CONTEXT)

    assert answer == {"batchItemFailures": [{"itemIdentifier": task.ref.task_id}]}


def test_a_missing_setting_stops_the_cold_start_with_its_name(settings: pytest.MonkeyPatch) -> None:
    settings.delenv("REDIS_HOST")

    with pytest.raises(SettingError) as caught:
        started("dead_letter")

    assert caught.value.name == "REDIS_HOST"
