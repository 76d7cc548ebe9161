"""Requests of an endpoint go through submit and status as prompts do."""

import pytest

from common.domain.request import Kind
from common.domain.task import Answer, FailureCode, Usage
from common.domain.transitions import Lease
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/responses": {"input": "Hello"},
    "/v1/embeddings": {"input": ["One", "Two"], "encoding_format": "float"},
}
KINDS = dict(zip(BODIES, (Kind.CHAT, Kind.RESPONSES, Kind.EMBEDDINGS), strict=True))
EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": "AAAAPw=="}],
    "encoding_format": "float",
}


@pytest.mark.parametrize("endpoint", BODIES)
def test_requests_are_put_on_the_queue_as_their_kind(api: Api, queue: Queue, endpoint: str) -> None:
    answer = api.post({"endpoint": endpoint, "requests": [{"custom_id": "row-1", "body": BODIES[endpoint]}]})

    assert answer.status == 202
    [message] = queue.drain()
    assert (message.request.kind, message.request.body) == (KINDS[endpoint], BODIES[endpoint])
    assert (message.task.kind, message.task.custom_id) == (KINDS[endpoint], "row-1")
    task = api.get(f"tasks/{answer.body['task_ids'][0]}").body
    assert (task["status"], task["model"]) == ("queued", message.task.model)


def test_a_request_that_breaks_a_rule_is_named_and_nothing_is_sent(api: Api, queue: Queue) -> None:
    requests = [{"body": BODIES["/v1/embeddings"]}, {"body": {"input": "a", "model": "large"}}]

    answer = api.post({"endpoint": "/v1/embeddings", "requests": requests})

    assert (answer.status, answer.body["code"]) == (400, "model_not_supported")
    assert answer.body["errors"][0]["pointer"] == "/requests/1/body/model"
    assert queue.drain() == []


def test_a_task_of_embeddings_shows_its_response_and_no_result(api: Api, queue: Queue) -> None:
    task_id = api.post({"endpoint": "/v1/embeddings", "requests": [{"body": {"input": "One"}}]}).body["task_ids"][0]
    [message] = queue.drain()
    lease = Lease(message.task, "owner", 40_000, 3)
    api.status.runner.run(api.worker.claim(lease))
    api.status.runner.run(api.worker.complete(lease, Answer("", None, Usage(2, 0, 2), response=EMBEDDINGS)))

    whole = api.get(f"tasks/{task_id}").body
    asked = api.get(f"tasks/{task_id}?fields=response,usage").body

    assert whole["status"] == "completed"
    assert whole.keys() & {"result", "finish_reason", "tool_calls", "response"} == set()
    assert asked["response"] == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    }
    assert asked["usage"]["prompt_tokens"] == 2


def test_failed_requests_are_retried_as_their_kind(api: Api, queue: Queue) -> None:
    batch_id = api.post({"endpoint": "/v1/responses", "requests": [{"body": {"input": "Hello"}}]}).body["batch_id"]
    [message] = queue.drain()
    lease = Lease(message.task, "owner", 40_000, 3)
    api.status.runner.run(api.worker.claim(lease))
    api.status.runner.run(api.worker.fail(lease, FailureCode.BAD_REQUEST))
    api.status.runner.run(api.worker.save_request(message.task.ref, message.encode()))

    assert api.retry(batch_id).status == 202

    [again] = queue.drain()
    assert again.request == message.request
