"""The dead-letter function's handler, end to end within one process."""

import asyncio
import importlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from common.errors import SettingError
from common.messages import TaskMessage
from common.settings import RedisSettings
from common.store.connection import connect
from common.store.task_store import TaskStore
from common.tasks import FailureCode, Task, TaskRecord, TaskRef, TaskStatus, new_batch_id
from common.transitions import Lease
from tests.valkey import valkey

__all__ = ["valkey"]

NAME = "functions.dead_letter.handler"
CONTEXT = SimpleNamespace(
    function_name="dead_letter", memory_limit_in_mb=128, invoked_function_arn="arn", aws_request_id="request"
)


@pytest.fixture
def settings(valkey: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        "POWERTOOLS_SERVICE_NAME": f"dead_letter-{secrets.token_hex(4)}",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "REDIS_HOST": valkey.host,
        "REDIS_PORT": str(valkey.port),
        "REDIS_TLS": "false",
        "REDIS_CLUSTER": "false",
        "WEBHOOK_QUEUE_URL": "https://sqs.test/webhooks",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def handler(settings: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    del settings
    sys.modules.pop(NAME, None)
    module = importlib.import_module(NAME)
    yield module
    module.RUNNER.run(module.REDIS.aclose())
    module.RUNNER.close()
    del sys.modules[NAME]


def new_task() -> Task:
    now_ms = time.time_ns() // 1_000_000
    ref = TaskRef("acme", new_batch_id(now_ms, secrets.token_bytes(16)), 0)
    return Task(ref, 1, now_ms, now_ms + 3_600_000, 86_400_000, "gpt-test")


def letter(task: Task) -> dict[str, Any]:
    body = TaskMessage(task, [{"role": "user", "content": "Attack at dawn"}]).encode()
    return {"messageId": task.ref.task_id, "body": body, "attributes": {"ApproximateReceiveCount": "1"}}


def on_store[Answer](settings: RedisSettings, use: Callable[[TaskStore], Awaitable[Answer]]) -> Answer:
    async def run() -> Answer:
        client = connect(settings)
        try:
            return await use(TaskStore(client))
        finally:
            await client.aclose()

    return asyncio.run(run())


def read(settings: RedisSettings, task: Task) -> TaskRecord:
    [record] = on_store(settings, lambda store: store.read([task.ref]))
    assert record is not None
    return record


def test_two_invocations_of_one_environment_fail_their_tasks(
    handler: ModuleType, valkey: RedisSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in (new_task(), new_task()):
        assert handler.lambda_handler({"Records": [letter(task)]}, CONTEXT) == {"batchItemFailures": []}

        record = read(valkey, task)
        assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEAD_LETTER)
    assert "Attack" not in capsys.readouterr().out


def test_what_is_not_recorded_stays_and_the_rest_goes(handler: ModuleType, valkey: RedisSettings) -> None:
    given_up, running = new_task(), new_task()
    on_store(valkey, lambda store: store.claim(Lease(running, "worker", 60_000, 3)))
    odd = {"messageId": "odd", "body": "no json"}

    answer = handler.lambda_handler({"Records": [letter(running), odd, letter(given_up)]}, CONTEXT)

    assert answer == {"batchItemFailures": [{"itemIdentifier": running.ref.task_id}, {"itemIdentifier": "odd"}]}
    assert read(valkey, running).status is TaskStatus.PROCESSING


def test_without_redis_every_letter_stays(settings: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    settings.setenv("REDIS_PORT", "1")
    handler: ModuleType = request.getfixturevalue("handler")
    task = new_task()

    answer = handler.lambda_handler({"Records": [letter(task)]}, CONTEXT)

    assert answer == {"batchItemFailures": [{"itemIdentifier": task.ref.task_id}]}


def test_a_missing_setting_stops_the_cold_start_with_its_name(settings: pytest.MonkeyPatch) -> None:
    settings.delenv("REDIS_HOST")
    sys.modules.pop(NAME, None)

    with pytest.raises(SettingError) as caught:
        importlib.import_module(NAME)

    assert caught.value.name == "REDIS_HOST"
