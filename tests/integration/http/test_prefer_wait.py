"""Test `Prefer: wait=N`: responses are held until tasks end."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from uuid import uuid4

import pytest

from common.api.held_calls import HoldLimits
from common.domain.task import Answer, Task, TaskRef
from common.domain.transitions import Lease
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from tests.integration.http.client import Api

WAIT = {"Prefer": "wait=20"}
SOON = 15.0
"""Seconds within which a notified call answers, even on a busy machine; without a notification it takes 20 or more."""


@pytest.fixture(autouse=True)
def only_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a held call read the store again after its hold only, so that an early answer needs a notification."""
    monkeypatch.setattr("common.api.long_poll.POLL_SECONDS", 60.0)


@contextmanager
def ending(redis: RedisSettings, *refs: TaskRef, text: str = "done", after: float = 0.5) -> Iterator[None]:
    """Do as a worker does on another machine: complete tasks a little later."""

    async def complete() -> None:
        await asyncio.sleep(after)
        client = connect(redis)
        store = TaskStore(client)
        for ref in refs:
            record = (await store.read([ref]))[0]
            assert record is not None
            task = Task(
                ref=ref,
                batch_size=len(refs),
                created_ms=record.created_ms,
                deadline_ms=record.deadline_ms,
                retention_ms=86_400_000,
                model=record.model,
            )
            await store.complete(Lease(task, uuid4().hex, 1_000, 3), Answer(text, "stop"))
        await client.aclose()

    thread = threading.Thread(target=asyncio.run, args=(complete(),))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def timed[Result](call: Callable[[], Result]) -> tuple[Result, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def refs_of(api: Api, task_ids: list[str]) -> list[TaskRef]:
    refs = [TaskRef.parse(api.tenant, task_id) for task_id in task_ids]
    return [ref for ref in refs if ref is not None]


@pytest.mark.parametrize("kind", ["task", "tasks", "batch"])
def test_a_get_is_held_until_the_tasks_have_ended(api: Api, redis: RedisSettings, kind: str) -> None:
    sent = api.post({"prompts": ["a", "b"][: 1 if kind == "task" else 2]}).body
    url = {
        "task": f"tasks/{sent['task_ids'][0]}",
        "tasks": f"tasks?task_ids={','.join(sent['task_ids'])}",
        "batch": f"batches/{sent['batch_id']}",
    }[kind]

    with ending(redis, *refs_of(api, sent["task_ids"])):
        found, seconds = timed(lambda: api.get(url, WAIT))

    assert (found.status, found.headers["Preference-Applied"]) == (200, "wait=20")
    assert "Retry-After" not in found.headers
    assert 0.4 < seconds < SOON
    tasks = [found.body] if kind == "task" else found.body["tasks"]
    assert {task["status"] for task in tasks} == {"completed"}


def test_until_any_is_answered_with_the_first(api: Api, redis: RedisSettings) -> None:
    ids = api.post({"prompts": ["a", "b"]}).body["task_ids"]

    with ending(redis, refs_of(api, ids)[1]):
        found, seconds = timed(lambda: api.get(f"tasks?task_ids={','.join(ids)}&until=any", WAIT))

    assert (found.status, [task["status"] for task in found.body["tasks"]]) == (200, ["queued", "completed"])
    assert seconds < SOON


def test_at_the_cap_an_unfinished_task_is_a_202_with_its_state(api: Api) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]

    found, seconds = timed(lambda: api.get(f"tasks/{task_id}", {"Prefer": "wait=1"}))

    assert (found.status, found.body["status"], found.headers["Preference-Applied"]) == (202, "queued", "wait=1")
    assert int(found.headers["Retry-After"]) >= 1
    assert 1 <= seconds < 1 + SOON


def test_what_has_ended_is_not_waited_for_and_what_is_unknown_neither(api: Api) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    api.take_back(f"tasks/{task_id}")
    unknown = f"{task_id[:-2]}-7"

    for url, status in ((f"tasks/{task_id}", 200), (f"tasks?task_ids={task_id},{unknown}", 200), ("tasks/x", 404)):
        found, seconds = timed(lambda url=url: api.get(url, WAIT))  # type: ignore[misc]  # a lambda's default
        assert (found.status, seconds < SOON) == (status, True)


def test_without_the_preference_nothing_is_held(api: Api) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]

    for headers in ({}, {"Prefer": "respond-async"}, {"Prefer": "wait=soon"}):
        found, seconds = timed(lambda headers=headers: api.get(f"tasks/{task_id}", headers))  # type: ignore[misc]
        assert (found.status, "Preference-Applied" in found.headers, seconds < SOON) == (200, False, True)


def test_until_must_be_any_or_all(api: Api) -> None:
    found = api.get("tasks/x?until=some", WAIT)

    assert (found.status, found.body["code"]) == (400, "invalid_until")


def test_a_post_that_waits_answers_with_the_tasks_in_full(api: Api, redis: RedisSettings) -> None:
    # With an Idempotency-Key the ids are known before they are sent.
    body, key = {"prompts": ["a", {"prompt": "b", "custom_id": "mine"}]}, uuid4().hex
    ids = api.post(body, key=key).body["task_ids"]

    with ending(redis, *refs_of(api, ids)):
        found, seconds = timed(lambda: api.post_text(json.dumps(body), {"Idempotency-Key": key, **WAIT}))

    assert (found.status, found.body["status"], found.body["task_ids"]) == (200, "ended", ids)
    assert [task["result"] for task in found.body["tasks"]] == ["done", "done"]
    assert found.body["tasks"][0]["task_id"] == ids[0]
    assert found.headers["Preference-Applied"] == "wait=20"
    assert "Retry-After" not in found.headers
    assert seconds < SOON


def test_a_post_whose_tasks_have_not_ended_is_a_202_with_their_states(api: Api) -> None:
    found = api.post_text('{"prompts": ["a", "b"]}', {"Prefer": "wait=1"})

    assert (found.status, found.body["status"]) == (202, "queued")
    assert [task["status"] for task in found.body["tasks"]] == ["queued", "queued"]
    assert found.headers["Location"] == f"batches/{found.body['batch_id']}"
    assert found.headers["Retry-After"] == "1"


def test_results_that_do_not_fit_a_posts_answer_are_behind_its_next(api: Api, redis: RedisSettings) -> None:
    body, key = {"prompts": ["a"] * 3}, uuid4().hex
    ids = api.post(body, key=key).body["task_ids"]

    with ending(redis, *refs_of(api, ids), text="x" * 2_000_000, after=0.0):
        found = api.post_text(json.dumps(body), {"Idempotency-Key": key, **WAIT})

    assert (found.status, found.body["status"]) == (200, "ended")
    assert [task["task_id"] for task in found.body["tasks"]] == ids[:2]
    rest = api.get(found.follow(found.body["next"]))
    assert [task["task_id"] for task in rest.body["tasks"]] == ids[2:]


@contextmanager
def holding_all_it_may(api: Api, tenant: str) -> Iterator[None]:
    """Do as a tenant with as many held calls as it may have, on other machines."""
    run, held = api.status.runner.run, AsyncExitStack()
    try:
        for _ in range(api.status.settings.holds.tenant):
            assert run(held.enter_async_context(api.status.held_calls.holding(tenant)))
        yield
    finally:
        run(held.aclose())


@pytest.mark.parametrize("kind", ["task", "tasks", "batch", "post"])
def test_over_its_held_calls_a_tenant_is_answered_at_once_and_told_when_to_ask_again(api: Api, kind: str) -> None:
    sent = api.post({"prompts": ["a"]}).body
    [task_id] = sent["task_ids"]

    with holding_all_it_may(api, api.tenant):
        if kind == "post":
            found, seconds = timed(lambda: api.post_text('{"prompts": ["b"]}', WAIT))
        else:
            url = {"task": f"tasks/{task_id}", "tasks": f"tasks?task_ids={task_id}", "batch": f"batches/{task_id[:-2]}"}
            found, seconds = timed(lambda: api.get(url[kind], WAIT))

    assert (found.status, "Preference-Applied" in found.headers) == (202, False)
    assert int(found.headers["Retry-After"]) >= 1
    assert found.body["status" if kind != "tasks" else "tasks"]
    assert seconds < SOON


@pytest.mark.parametrize("kind", ["get", "post"])
def test_another_tenants_call_is_held_while_one_holds_all_it_may(api: Api, kind: str) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]

    with holding_all_it_may(api, f"rival-{uuid4().hex[:8]}"):
        if kind == "get":
            found, seconds = timed(lambda: api.get(f"tasks/{task_id}", {"Prefer": "wait=1"}))
        else:
            found, seconds = timed(lambda: api.post_text('{"prompts": ["b"]}', {"Prefer": "wait=1"}))

    assert (found.status, found.headers["Preference-Applied"]) == (202, "wait=1")
    assert seconds >= 1


def test_a_call_that_was_held_leaves_its_place(api: Api) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    api.status.held_calls._limits = HoldLimits(tenant=1)

    for _ in range(2):
        assert api.get(f"tasks/{task_id}", {"Prefer": "wait=1"}).headers["Preference-Applied"] == "wait=1"
