"""Test that the largest stored answers can be read on every route, together with others."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from common.api.pagination import MOST_ANSWER_BYTES, MOST_BYTES, is_readable
from common.domain.request import Kind
from common.domain.task import Answer, Task, TaskRef, ToolCall
from common.domain.transitions import Lease
from tests.integration.http.client import Answer as HttpAnswer
from tests.integration.http.client import Api, event_of
from tests.integration.http.queue import Queue
from tests.invocation import Context

LETTERS = {"ascii": "x", "cjk": "語", "emoji": "😀", "control": "\0", "quotes": '"', "lines": "\n", "backslashes": "\\"}
LAMBDAS_BYTES = 6_291_556
SMALL = Answer("small", "stop")


def largest(letter: str, *, in_tool: bool = False) -> Answer:
    """Return the largest answer of these characters that a worker keeps."""

    def answer_of(count: int) -> Answer:
        text = letter * count
        return Answer("", "tool_calls", None, (ToolCall("a", "f", text),)) if in_tool else Answer(text, "stop")

    low, high = 0, MOST_ANSWER_BYTES
    while high - low > 1_000:
        middle = (low + high) // 2
        low, high = (middle, high) if is_readable(Kind.CHAT, answer_of(middle)) else (low, middle)
    return answer_of(low)


def complete(api: Api, task_id: str, answer: Answer) -> None:
    ref = TaskRef.parse(api.tenant, task_id)
    assert ref is not None
    now_ms = time.time_ns() // 1_000_000
    lease = Lease(
        Task(
            ref=ref,
            batch_size=1,
            created_ms=now_ms,
            deadline_ms=now_ms + 60_000,
            retention_ms=86_400_000,
            model="small",
        ),
        uuid4().hex,
        60_000,
        3,
    )
    api.status.runner.run(api.worker.complete(lease, answer))


def pages(api: Api, first: HttpAnswer) -> Iterator[dict[str, Any]]:
    """Yield the tasks of an answer and of those that `next` leads to."""
    answer = first
    while True:
        assert answer.status == 200
        yield from answer.body["tasks"]
        if "next" not in answer.body:
            return
        answer = api.get(answer.follow(answer.body["next"]))


def followed(api: Api, task_id: str) -> list[tuple[str, Any]]:
    """Follow a task's stream to its end, as an EventSource does."""
    events: list[tuple[str, Any]] = []
    last_id = ""
    while True:
        event = event_of("GET", f"/tasks/{task_id}/stream", {}, api.tenant) | {"headers": {"Last-Event-ID": last_id}}
        answer = api.status.lambda_handler(event, Context())
        assert len(json.dumps(answer)) < LAMBDAS_BYTES
        if answer["statusCode"] == 204:
            return events
        for block in answer["body"].removesuffix("\n\n").split("\n\n")[1:]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            events.append((fields["event"], json.loads(fields["data"])))
            last_id = fields["id"]


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
@pytest.mark.parametrize("in_tool", [False, True], ids=["text", "tool"])
@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_the_largest_answer_is_read_alone_among_others_and_as_a_stream(
    api: Api, queue: Queue, letter: str, *, in_tool: bool
) -> None:
    large = largest(letter, in_tool=in_tool)
    ids = api.post({"prompts": ["a", "b", "c", "d"]}).body["task_ids"]
    for task_id, answer in zip(ids, (SMALL, large, large, SMALL), strict=True):
        complete(api, task_id, answer)
    queue.drain()

    alone = api.get(f"tasks/{ids[1]}").body
    among = list(pages(api, api.get(f"tasks?task_ids={','.join(ids)}")))
    events = followed(api, ids[1])

    arguments = [call["function"]["arguments"] for call in alone.get("tool_calls", [])]
    assert (alone["result"], arguments) == (large.text, [call.arguments for call in large.tool_calls])
    assert [task["task_id"] for task in among] == ids
    assert among[1] == alone
    assert [task["result"] for task in among] == ["small", large.text, large.text, "small"]
    assert "".join(data["text"] for name, data in events if name == "delta") == large.text
    assert events[-1] == ("ended", alone)


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_a_held_call_returns_the_largest_answer(api: Api, queue: Queue, letter: str) -> None:
    large = largest(letter)
    body = json.dumps({"prompts": ["a", "b", "c"]})
    headers = {"Idempotency-Key": "k"}
    ids = api.post_text(body, headers).body["task_ids"]
    for task_id in ids:
        complete(api, task_id, large)
    queue.drain()

    held = api.post_text(body, headers | {"Prefer": "wait=5"})
    waited = api.get(f"tasks?task_ids={','.join(ids)}", {"Prefer": "wait=5"})

    for first in held, waited:
        assert [task["result"] for task in pages(api, first)] == [large.text] * 3
    assert held.body["status"] == "ended"


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
def test_an_answer_that_no_response_carries_is_an_error_beside_its_neighbours(api: Api, queue: Queue) -> None:
    ids = api.post({"prompts": ["a", "b", "c"]}, key="k").body["task_ids"]
    for task_id, answer in zip(ids, (SMALL, Answer("x" * MOST_BYTES, "stop"), SMALL), strict=True):
        complete(api, task_id, answer)
    queue.drain()

    together = api.get(f"tasks?task_ids={','.join(ids)}").body["tasks"]
    held = api.post_text('{"prompts": ["a", "b", "c"]}', {"Idempotency-Key": "k", "Prefer": "wait=5"}).body["tasks"]

    assert together == held
    assert [task.get("result") for task in together] == ["small", None, "small"]
    assert together[1] == api.get(f"tasks/{ids[1]}").body == followed(api, ids[1])[-1][1]
    assert (together[1]["status"], together[1]["error"]["code"]) == ("completed", "answer_too_large")
    assert api.get(f"batches/{ids[0].rpartition('-')[0]}").body["counts"]["completed"] == 3
