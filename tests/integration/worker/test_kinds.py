"""Test that the worker answers each kind of request, from the queue to the record."""

import json
from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any
from uuid import uuid4

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.responses import Response

from common.domain.message import TaskMessage
from common.domain.request import Kind, Request
from common.domain.task import TaskRecord, TaskStatus, Usage
from common.kinds.registry import registration_of
from tests.integration.worker.environment import WorkerEnvironment
from tests.invocation import Context
from tests.store import record_of

MODEL = {Kind.RESPONSES: "gpt-5-mini", Kind.EMBEDDINGS: "text-embedding-3-small"}


def send(environment: WorkerEnvironment, kind: Kind, *bodies: Mapping[str, Any]) -> list[TaskMessage]:
    tasks = environment.record_batch(*[MODEL[kind]] * len(bodies), kind=kind)
    messages = [TaskMessage(task, Request(kind, body)) for task, body in zip(tasks, bodies, strict=True)]
    for message in messages:
        environment.put(message)
    return messages


def event_of(messages: Sequence[TaskMessage]) -> dict[str, Any]:
    """Make an event of more messages than one call to SQS receives."""
    return {
        "Records": [
            {
                "messageId": f"m-{index}",
                "receiptHandle": f"r-{index}",
                "body": message.encode(),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
            }
            for index, message in enumerate(messages)
        ]
    }


def completed(environment: WorkerEnvironment, message: TaskMessage) -> TaskRecord:
    record = record_of(environment.redis, message.task.ref)
    assert record.status is TaskStatus.COMPLETED, record
    assert len(record.attempts) == 1
    return record


def response_of(record: TaskRecord) -> dict[str, Any]:
    assert record.answer is not None
    assert record.answer.response is not None
    return registration_of(record.kind).views.full_response(record.answer.response, record.answer.text)


def test_a_response_is_answered_and_kept_whole(environment: WorkerEnvironment) -> None:
    [message] = send(environment, Kind.RESPONSES, {"input": "A joke about plants", "instructions": "Be brief"})

    assert environment.invoke_raw(environment.receive()) == []

    record = completed(environment, message)
    assert record.answer is not None
    response = Response.model_validate(response_of(record), strict=True)
    assert response.output_text == record.answer.text != ""
    assert record.answer.finish_reason == "stop"
    assert response.usage is not None
    assert record.answer.usage is not None
    assert record.answer.usage.total_tokens == response.usage.total_tokens
    assert record.answer.cost_nanos is not None


def test_a_response_that_calls_tools_shows_them(environment: WorkerEnvironment) -> None:
    tool = {"type": "function", "name": "dig", "parameters": {"type": "object", "properties": {}}}
    [message] = send(environment, Kind.RESPONSES, {"input": "Dig", "tools": [tool], "tool_choice": "required"})

    environment.invoke_raw(environment.receive())

    answer = completed(environment, message).answer
    assert answer is not None
    assert [call.name for call in answer.tool_calls] == ["dig"]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("fault", ["500x1", "cutx1", "nofinishx1"])
def test_a_response_that_fails_once_is_asked_again(environment: WorkerEnvironment, fault: str) -> None:
    [message] = send(environment, Kind.RESPONSES, {"input": f"[[fault:{fault}]] A joke about {uuid4()}"})

    [record] = environment.invoke_raw(environment.receive())

    assert record_of(environment.redis, message.task.ref).status is TaskStatus.QUEUED
    assert environment.invoke_raw({"Records": [record]}) == []
    assert record_of(environment.redis, message.task.ref).status is TaskStatus.COMPLETED


@pytest.fixture
def patient(environment: WorkerEnvironment, monkeypatch: pytest.MonkeyPatch) -> WorkerEnvironment:
    """Wait for requests to join as long as a busy machine needs to claim them."""
    monkeypatch.setattr("common.worker.joint_calls.LINGER_SECONDS", 0.3)
    monkeypatch.setattr("common.worker.joint_calls.MOST_LINGER_SECONDS", 10)
    return environment


def test_the_embeddings_of_one_invocation_are_asked_in_one_call(patient: WorkerEnvironment) -> None:
    environment = patient
    before = environment.model.calls.total
    messages = send(environment, Kind.EMBEDDINGS, *({"input": f"text {number}"} for number in range(10)))

    assert environment.invoke_raw(environment.receive()) == []

    assert environment.model.calls.total - before == 1
    records = [completed(environment, message) for message in messages]
    usages = [record.answer.usage for record in records if record.answer]
    assert usages == [Usage(2, 0, 2)] * 10
    embeddings = [CreateEmbeddingResponse.model_validate(response_of(record), strict=True) for record in records]
    assert len({json.dumps(each.data[0].embedding) for each in embeddings}) == 10
    assert all(each.data[0].index == 0 and len(each.data[0].embedding) == 1_536 for each in embeddings)


def test_a_joint_call_answers_each_task_as_its_own_call_would(environment: WorkerEnvironment) -> None:
    bodies: list[dict[str, Any]] = [{"input": ["One", "Two"]}, {"input": "Three"}]
    together = send(environment, Kind.EMBEDDINGS, *bodies)
    environment.invoke_raw(environment.receive())
    alone = [send(environment, Kind.EMBEDDINGS, body)[0] for body in bodies]
    for message in alone:
        environment.handler.lambda_handler(event_of([message]), Context("worker"))

    for joint, single in zip(together, alone, strict=True):
        assert response_of(completed(environment, joint)) == response_of(completed(environment, single))


def test_one_faulty_embedding_costs_its_neighbours_nothing(environment: WorkerEnvironment) -> None:
    good, bad = send(environment, Kind.EMBEDDINGS, {"input": "good"}, {"input": "[[fault:400]] bad"})

    environment.invoke_raw(environment.receive())

    completed(environment, good)
    record = record_of(environment.redis, bad.task.ref)
    assert (record.status, record.code) == (TaskStatus.FAILED, "bad_request")


@pytest.fixture
def wide(worker_settings: pytest.MonkeyPatch) -> None:
    """Run as many tasks at a time as an invocation brings: the default."""
    worker_settings.setenv("CONCURRENCY", "100")


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(("size", "batch_size", "calls"), [(100, 10, 10), (1_000, 100, 10)])
def test_embeddings_take_a_call_for_each_invocation(
    patient: WorkerEnvironment, size: int, batch_size: int, calls: int
) -> None:
    environment = patient
    before = environment.model.calls.total
    tasks = environment.record_batch(*[MODEL[Kind.EMBEDDINGS]] * size, kind=Kind.EMBEDDINGS)
    body = {"input": "text", "dimensions": 8}
    messages = [TaskMessage(task, Request(Kind.EMBEDDINGS, body)) for task in tasks]

    for some in batched(messages, batch_size, strict=True):
        answer = environment.handler.lambda_handler(event_of(some), Context("worker"))
        assert answer == {"batchItemFailures": []}

    assert environment.model.calls.total - before == calls
    assert completed(environment, messages[-1]).answer is not None
