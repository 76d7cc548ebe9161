"""Test server-sent events: the real handler is notified by writes of a worker."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from common.api.held_calls import HoldLimits
from common.domain.task import Answer, Task, TaskRef
from common.domain.transitions import Lease, ProgressNote
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from tests.integration.http.client import Api, event_of
from tests.invocation import Context

SOON = 15.0
"""Seconds within which a notified call answers, even on a busy machine; without a notification it takes 20 or more."""


@pytest.fixture(autouse=True)
def only_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a held call read the store again after its hold only, so that an early answer needs a notification."""
    monkeypatch.setattr("functions.status.stream.POLL_SECONDS", 60.0)


type Work = Callable[[TaskStore, Lease], Awaitable[object]]


def ask(api: Api, task_id: str, last_event_id: str = "") -> tuple[dict[str, Any], float]:
    event = event_of("GET", f"/tasks/{task_id}/stream", {}, api.tenant) | {"headers": {"Last-Event-ID": last_event_id}}
    started = time.monotonic()
    return api.status.lambda_handler(event, Context()), time.monotonic() - started


def last_id(answer: dict[str, Any]) -> str:
    lines: list[str] = answer["body"].split("\n")
    return [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]


def working(redis: RedisSettings, lease: Lease, work: Work, *, after: float = 0.5) -> threading.Thread:
    """Do as a worker does on another machine, a little later."""

    async def run() -> None:
        await asyncio.sleep(after)
        client = connect(redis)
        await work(TaskStore(client), lease)
        await client.aclose()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    return thread


def test_each_step_of_a_worker_is_told_when_it_is_made(api: Api, redis: RedisSettings) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
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
    steps: list[tuple[Work, str]] = [
        (lambda store, lease: store.claim(lease), "event: status"),
        (
            lambda store, lease: store.progress([ProgressNote(ref, lease.owner, 10, "Why", 60_000)]),
            'data: {"text": "Why"}',
        ),
        (
            lambda store, lease: store.progress([ProgressNote(ref, lease.owner, 10, "Why did", 60_000)]),
            'data: {"text": " did"}',
        ),
        (lambda store, lease: store.complete(lease, Answer("Why did it?", "stop")), "event: ended"),
    ]
    answer, seconds = ask(api, task_id)
    assert "event: status" in answer["body"]

    for work, event in steps:
        worker = working(redis, lease, work)
        answer, seconds = ask(api, task_id, last_id(answer))
        worker.join()
        assert answer["statusCode"] == 200
        assert answer["multiValueHeaders"]["Content-Type"] == ["text/event-stream"]
        assert answer["body"].startswith("retry: 100\n")
        assert event in answer["body"]
        assert seconds < SOON

    *_, data = (line for line in answer["body"].split("\n") if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: ")) == api.get(f"tasks/{task_id}").body
    assert ask(api, task_id, last_id(answer))[0]["statusCode"] == 204


def test_the_errors_of_a_stream_are_those_of_the_api(api: Api) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]

    unknown, wrong = api.get("tasks/x/stream"), api.get(f"tasks/{task_id}/stream?starting_after=x")

    assert (unknown.status, unknown.body["code"]) == (404, "not_found")
    assert (wrong.status, wrong.body["code"]) == (400, "invalid_starting_after")


def test_over_its_held_calls_a_tenants_step_does_not_wait(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    first, _ = ask(api, task_id)
    api.status.held_calls._limits = HoldLimits(tenant=1)
    held = api.status.held_calls.holding(api.tenant)
    assert api.status.runner.run(held.__aenter__())

    answer, seconds = ask(api, task_id, last_id(first))

    api.status.runner.run(held.__aexit__(None, None, None))
    assert (answer["statusCode"], answer["body"]) == (200, "retry: 2000\n: not held\n\n")
    assert seconds < SOON
    assert '"CallsNotHeld"' in capsys.readouterr().out
