"""Shared API calls for tests of the stack."""

from typing import Any

import httpx

from tests.local_stack import eventually

ENDED = ("completed", "failed", "cancelled")
ANSWER_SECONDS = 120

type Json = dict[str, Any]


def accept(api: httpx.Client, body: Json, **headers: str) -> Json:
    """Send a call and return the 202's body."""
    answer = api.post("/tasks", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    accepted: Json = answer.json()
    return accepted


def submit(api: httpx.Client, *prompts: str) -> list[str]:
    """Send prompts and return their ids."""
    task_ids: list[str] = accept(api, {"prompts": prompts})["task_ids"]
    return task_ids


def look_up(api: httpx.Client, task_ids: list[str]) -> list[Json]:
    """Look at tasks."""
    answer = api.get("/tasks", params={"task_ids": ",".join(task_ids)})
    assert answer.status_code == 200, answer.text
    tasks: list[Json] = answer.json()["tasks"]
    return tasks


def ended(api: httpx.Client, task_ids: list[str]) -> list[Json]:
    """Look at tasks once all have ended."""
    return eventually(
        lambda: look_up(api, task_ids),
        until=lambda tasks: all(task["status"] in ENDED for task in tasks),
        seconds=ANSWER_SECONDS,
    )


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of an error."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]
