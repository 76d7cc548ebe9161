"""Test the ways to read tasks: waits, Retry-After, selected fields, pages and streams."""

import asyncio
import json
import re
import time
from typing import Any

import httpx
import pytest

from common.domain.task import Answer, Task, TaskRef
from common.domain.transitions import Lease
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from local.aws import TENANT
from tests.local.calls import ANSWER_SECONDS, accept, ended, look_up, problem, submit
from tests.local_stack import Up, eventually

pytestmark = pytest.mark.timeout(300)

SLOW = "Slow [[tokens:900]] [[delay:0.1]]"
WAIT = "wait=20"


def cancel_all(api: httpx.Client, accepted: dict[str, Any]) -> None:
    assert api.post(f"/batches/{accepted['batch_id']}/cancel").status_code == 200


def test_a_post_that_waits_answers_with_the_tasks(api: httpx.Client) -> None:
    answer = api.post("/tasks", json={"prompts": ["A joke about food", "One about plants"]}, headers={"Prefer": WAIT})

    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, WAIT)
    assert [(task["status"], bool(task["result"])) for task in answer.json()["tasks"]] == [("completed", True)] * 2
    assert "Retry-After" not in answer.headers


def test_who_waits_for_any_is_answered_by_the_first_and_who_waits_for_all_is_told_that_they_have_not_ended(
    api: httpx.Client,
) -> None:
    accepted = accept(api, {"prompts": [SLOW, "A joke about food"]})
    many = {"task_ids": ",".join(accepted["task_ids"])}
    for path, query in (("/tasks", many), (f"/batches/{accepted['batch_id']}", {})):
        first = api.get(path, params={**query, "until": "any"}, headers={"Prefer": WAIT})
        all_of_them = api.get(path, params=query, headers={"Prefer": "wait=1"})

        assert first.status_code == 200
        assert "completed" in {task["status"] for task in first.json()["tasks"]}
        assert (all_of_them.status_code, all_of_them.headers["Preference-Applied"]) == (202, "wait=1")
        assert int(all_of_them.headers["Retry-After"]) > 0

    # WHEN what is left is cancelled THEN who waits for it learns of that
    cancel_all(api, accepted)
    task = api.get(f"/tasks/{accepted['task_ids'][0]}", headers={"Prefer": WAIT})
    assert (task.status_code, task.json()["status"]) == (200, "cancelled")


def test_an_unfinished_answer_says_when_to_ask_again_and_an_unchanged_one_need_not_be_sent(api: httpx.Client) -> None:
    accepted = accept(api, {"prompts": ["A joke about food", SLOW]})
    done, slow = accepted["task_ids"]
    ended(api, [done])

    finished, running = api.get(f"/tasks/{done}"), api.get(f"/tasks/{slow}")
    assert "Retry-After" not in finished.headers
    assert int(running.headers["Retry-After"]) in {1, 2}

    known = {"If-None-Match": finished.headers["ETag"]}
    again = api.get(f"/tasks/{done}", headers=known)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", finished.headers["ETag"])
    assert api.get(f"/tasks/{slow}", headers=known).status_code == 200
    cancel_all(api, accepted)


def test_a_batch_is_read_in_pages_and_by_status_and_in_parts(api: httpx.Client) -> None:
    prompts = ["one", "[[fault:401]] two", "three", "[[fault:context]] four", "five"]
    accepted = accept(api, {"prompts": prompts, "metadata": {"run": "7"}})
    ended(api, accepted["task_ids"])

    # WHEN its pages are followed THEN each task comes once, in order
    page = api.get(f"/batches/{accepted['batch_id']}?limit=2")
    seen = [task["task_id"] for task in page.json()["tasks"]]
    while "next" in page.json():
        assert len(page.json()["tasks"]) == 2
        page = api.get(page.url.join(page.json()["next"]))
        seen += [task["task_id"] for task in page.json()["tasks"]]
    assert seen == accepted["task_ids"]

    # AND the failed ones come with their reasons
    failed = api.get(f"/batches/{accepted['batch_id']}?status=failed").json()
    assert [task["error"]["code"] for task in failed["tasks"]] == ["unauthorized", "context_length_exceeded"]
    assert (failed["status"], failed["counts"]["failed"], failed["counts"]["completed"]) == ("ended", 2, 3)

    # AND parts are parts
    parts = api.get(f"/batches/{accepted['batch_id']}?fields=metadata").json()
    assert parts == {"batch_id": accepted["batch_id"], "status": "ended", "metadata": {"run": "7"}}
    [task] = api.get("/tasks", params={"task_ids": seen[0], "fields": "result,progress"}).json()["tasks"]
    assert set(task) == {"task_id", "batch_id", "status", "progress", "result"}
    assert problem(api.get("/tasks", params={"task_ids": seen[0], "fields": "prompt"})) == (400, "invalid_fields")


def test_partial_text_grows_and_can_be_followed_from_where_one_stopped(api: httpx.Client) -> None:
    # GIVEN an answer that takes some seconds
    [task_id] = submit(api, "Follow me [[tokens:80]] [[delay:0.05]]")

    # WHEN its steps are read, the first with one client and the others with another that knows how far it came
    text, cursor, names = "", "", []
    for step in range(200):
        by_length = step == 2  # the one step for which it only knows how much text it has
        headers = {} if by_length else {"Last-Event-ID": cursor}
        query = {"starting_after": str(len(text))} if by_length else {}
        answer = api.get(f"/tasks/{task_id}/stream", headers=headers, params=query)
        if answer.status_code == 204:
            break
        assert answer.headers["Content-Type"] == "text/event-stream"
        for name, event_id, data in events_of(answer.text):
            cursor = event_id
            names.append(name)
            text += data["text"] if name == "delta" else ""

    # THEN together they are the answer, and the last says so
    [task] = look_up(api, [task_id])
    assert (text, task["status"]) == (task["result"], "completed")
    assert names[-1] == "ended"
    assert names.count("delta") > 1
    assert problem(api.get(f"/tasks/{task_id}/stream?starting_after=x")) == (400, "invalid_starting_after")


def events_of(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    found = re.findall(r"event: (\w+)\nid: (\S+)\ndata: (.*)\n", text)
    return [(name, event_id, json.loads(data)) for name, event_id, data in found]


def test_a_running_task_shows_its_text_so_far(api: httpx.Client) -> None:
    accepted = accept(api, {"prompts": [SLOW]})

    [first] = eventually(
        lambda: look_up(api, accepted["task_ids"]),
        until=lambda tasks: bool(tasks[0].get("partial_result")),
        seconds=ANSWER_SECONDS,
    )
    [second] = eventually(
        lambda: look_up(api, accepted["task_ids"]),
        until=lambda tasks: len(tasks[0]["partial_result"]) > len(first["partial_result"]),
        seconds=ANSWER_SECONDS,
    )

    assert second["partial_result"].startswith(first["partial_result"])
    assert second["status"] == "processing"
    assert 0 <= first["progress"] <= second["progress"] < 100
    cancel_all(api, accepted)


def test_answers_that_do_not_fit_one_response_come_in_pages(stack: Up, api: httpx.Client) -> None:
    # GIVEN three tasks whose answers, as a worker would write them, take more than the 6 MB that Lambda carries
    accepted = accept(api, {"prompts": [f"Large {n} [[latency:60]]" for n in range(3)]})
    results = [str(number) * 2_500_000 for number in range(3)]
    asyncio.run(complete(stack, accepted["task_ids"], results))

    # WHEN they are asked for together
    answer = api.get("/tasks", params={"task_ids": ",".join(accepted["task_ids"])})
    rest = api.get(answer.url.join(answer.json()["next"]))

    # THEN they come in two answers, whole
    assert [len(each.json()["tasks"]) for each in (answer, rest)] == [2, 1]
    assert [task["result"] for each in (answer, rest) for task in each.json()["tasks"]] == results
    assert "next" not in rest.json()
    # and without their texts in one
    parts = api.get("/tasks", params={"task_ids": ",".join(accepted["task_ids"]), "fields": "progress"})
    assert [task["progress"] for task in parts.json()["tasks"]] == [100] * 3


async def complete(stack: Up, task_ids: list[str], results: list[str]) -> None:
    """Write answers into the records, as a worker does."""
    port = re.search(r"Valkey keeps the tasks on port (\d+)", stack.told())
    assert port is not None
    redis = connect(RedisSettings("127.0.0.1", int(port[1]), tls=False, cluster=False, username=None))
    store, now_ms = TaskStore(redis), time.time_ns() // 1_000_000
    for task_id, result in zip(task_ids, results, strict=True):
        ref = TaskRef.parse(TENANT, task_id)
        assert ref is not None
        task = Task(
            ref=ref,
            batch_size=len(results),
            created_ms=now_ms,
            deadline_ms=now_ms + 60_000,
            retention_ms=86_400_000,
            model="gpt-5-mini",
        )
        await store.complete(Lease(task, "test", 60_000, 3), Answer(result, "stop"))
    await redis.aclose()
