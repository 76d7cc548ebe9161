"""A kind that only this test registers: its queue, estimates, upstream and views follow from its registration."""

import json
from types import MappingProxyType

import pytest

from common.api.serializers import TASK_FIELDS, show_task
from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.message import TaskMessage
from common.domain.request import Kind, Request
from common.domain.task import Answer, Task, TaskRef
from common.kinds import registry
from common.kinds.registry import Registration, public_model
from common.store import codec
from common.worker.concurrency import Origin
from common.worker.provider_client import ProviderClient
from common.worker.provider_model import ProviderModel
from common.worker.token_estimates import answer_tokens, expected_tokens, prompt_tokens
from functions.dead_letter.service import process_dead_letters
from tests.fakes import FakeBacklog, FakeStore
from tests.upstream import upstream, whole

NOW_MS = 1_000_000
BATCH_ID = "0" * 36


def member(name: str) -> Kind:
    """Make a member that the enumeration does not have."""
    kind = str.__new__(Kind, name)
    kind._name_, kind._value_ = name.upper(), name
    return kind


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Kind:
    kind = member("trial")
    monkeypatch.setitem(Kind._member_map_, "TRIAL", kind)
    monkeypatch.setitem(Kind._value2member_map_, "trial", kind)
    registration = Registration("tests.unit.kinds.trial", BacklogQueue.WORKFLOWS, namespace="trial/")
    registered = MappingProxyType({**registry.REGISTRATIONS, kind: registration})
    monkeypatch.setattr(registry, "REGISTRATIONS", registered)
    return kind


@pytest.fixture
def message(trial: Kind) -> TaskMessage:
    task = Task(
        ref=TaskRef("acme", BATCH_ID, 0),
        batch_size=1,
        created_ms=NOW_MS,
        deadline_ms=NOW_MS + 60_000,
        retention_ms=60_000,
        model="small",
        kind=trial,
    )
    return TaskMessage(task, Request(trial, {"size": 30}), expected_tokens=5)


def test_its_message_comes_back_equal(message: TaskMessage) -> None:
    assert TaskMessage.decode(message.encode()) == message


def test_its_public_name_keeps_it_apart_from_the_models_of_other_kinds(trial: Kind, message: TaskMessage) -> None:
    assert public_model(trial, "small") == "trial/small"
    assert Origin.of(message).model == "trial/small"


def test_its_tokens_are_estimated_by_its_own_rules(message: TaskMessage) -> None:
    assert (prompt_tokens(message), answer_tokens(message), expected_tokens(message)) == (30, 6, 6)


async def test_a_dead_letter_leaves_its_own_queue(message: TaskMessage) -> None:
    backlog = FakeBacklog(lambda: NOW_MS)
    await backlog.reserve("acme", BacklogQueue.WORKFLOWS, BATCH_ID, 1, QueueLimit(0, 10, 50))

    await process_dead_letters([{"messageId": "m", "body": message.encode()}], FakeStore(lambda: NOW_MS), backlog)

    assert backlog.held("acme", BacklogQueue.WORKFLOWS) == []


class Key:
    async def __call__(self) -> str:
        return "key"

    async def renewed(self, _: str) -> bool:
        return False


async def test_the_worker_calls_its_endpoint_and_reads_its_answer(message: TaskMessage) -> None:
    heard: list[str] = []
    async with upstream(whole({"n": 1})) as provider:
        client = ProviderClient(key=Key(), base_url=provider.url, timeout_seconds=5, on_headers=lambda *_: None)
        model = ProviderModel(client)
        try:
            answer = await model.ask(message, heard.append, ends_at=9)
        finally:
            await model.close()

    assert [head.split()[1] for head in provider.heads] == ["/v1/trials"]
    assert provider.headers("content-length") == [f"content-length: {len('small 30')}"]
    assert (answer.text, answer.finish_reason) == (f"{json.dumps({'n': 1})} until 9", "stop")
    assert heard == [json.dumps({"n": 1})]


def test_its_answer_is_stored_and_shown_by_its_own_views(trial: Kind, message: TaskMessage) -> None:
    answer = Answer("I dig", "stop")
    response = codec.write_response(trial, answer)
    assert response is not None
    kept = {"status": "completed", "progress": 100, "created": 0, "deadline": 1, "kind": trial, "model": "small"}
    fields: dict[str, bytes | int] = {name: str(value).encode() for name, value in kept.items()}
    fields |= {"result": b"I dig", "finish_reason": b"stop", "response": response, "expires": 5}

    record = codec.read_record(message.task.ref, fields)
    body = show_task(record, TASK_FIELDS)

    assert body["model"] == "trial/small"
    assert body["tool_calls"] == [{"id": "1", "type": "function", "function": {"name": "dig", "arguments": "{}"}}]
    assert body["refusal"] == "never"
    assert body["response"] == {"tool": "dig", "no": "never", "size": 5, "said": "I dig"}
