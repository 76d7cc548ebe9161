"""Test the lifetime of a task: its deadline, its retention, and its status after both."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest

from common.domain.task import new_batch_id
from local.answers import prompt_digest
from tests.local.calls import accept, ended, look_up, problem
from tests.local_stack import CONCURRENCY, WORKERS, Up, eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def no_worker_free(api: httpx.Client) -> Iterator[None]:
    """Keep every worker at work for as long as the test lasts."""
    # As many as both workers take from the queue at once, so that neither has a slot left.
    prompts = [f"Busy {n} [[tokens:900]] [[delay:0.1]]" for n in range(10 * WORKERS)]
    accepted = accept(api, {"prompts": prompts})
    running = eventually(
        lambda: sum(task["status"] == "processing" for task in look_up(api, accepted["task_ids"])),
        until=lambda count: count == CONCURRENCY * WORKERS,
        seconds=60,
    )
    assert running == CONCURRENCY * WORKERS
    yield
    assert api.post(f"/batches/{accepted['batch_id']}/cancel").status_code == 200


@pytest.mark.usefixtures("no_worker_free")
def test_what_has_not_started_by_its_deadline_fails_unpaid(stack: Up, api: httpx.Client) -> None:
    prompt = "Too late to start"

    [task] = ended(api, accept(api, {"prompts": [prompt], "deadline_seconds": 1})["task_ids"])

    assert (task["status"], task["error"]["code"], task["attempts"]) == ("failed", "deadline_exceeded", [])
    by_prompt = stack.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    assert prompt_digest(prompt) not in by_prompt


def test_what_is_being_answered_at_its_deadline_is_ended_by_it(stack: Up, api: httpx.Client) -> None:
    # GIVEN an answer that would take a minute and a half
    prompt = "Too slow [[tokens:900]] [[delay:0.1]]"

    # WHEN it has some seconds
    [task] = ended(api, accept(api, {"prompts": [prompt], "deadline_seconds": 15})["task_ids"])

    # THEN it has failed, with the try that was paid for, and the model is asked no longer
    assert (task["status"], task["error"]["code"], len(task["attempts"])) == ("failed", "deadline_exceeded", 1)
    assert eventually(lambda: stack.calls()["in_flight"], until=lambda count: count == 0, seconds=10) == 0


def test_an_answer_can_be_read_for_as_long_as_the_call_says(api: httpx.Client) -> None:
    accepted = accept(api, {"prompts": ["A joke about food"], "retention_seconds": 7200, "deadline_seconds": 600})

    [task] = ended(api, accepted["task_ids"])

    assert between(accepted["created_at"], accepted["deadline_at"]) == timedelta(seconds=600)
    assert between(accepted["deadline_at"], accepted["expires_at"]) == timedelta(seconds=7200)
    assert between(task["ended_at"], task["expires_at"]) == timedelta(seconds=7200)
    refused = api.post("/tasks", json={"prompts": ["x"], "retention_seconds": 3599})
    assert problem(refused) == (400, "invalid_value")


def between(first: str, second: str) -> timedelta:
    return datetime.fromisoformat(second) - datetime.fromisoformat(first)


def test_an_id_that_has_outlived_its_record_is_expired_and_not_unknown(api: httpx.Client) -> None:
    # GIVEN the ids of a batch that was born two hours ago, of one that was born now, and nothing of either
    now_ms = time.time_ns() // 1_000_000
    old, young = (new_batch_id(born_ms, bytes(16)) for born_ms in (now_ms - 7_200_000, now_ms))

    tasks = look_up(api, [f"{old}-0", f"{young}-0"])

    assert [task["status"] for task in tasks] == ["expired", "not_found"]
    for path in (f"/tasks/{old}-0", f"/tasks/{old}-0/stream", f"/batches/{old}"):
        assert problem(api.get(path)) == (410, "expired")
    assert problem(api.post(f"/batches/{old}/cancel")) == (410, "expired")
    assert problem(api.get(f"/batches/{young}")) == (404, "not_found")


def test_what_has_ended_can_not_be_cancelled_and_cancelling_twice_is_as_good_as_once(api: httpx.Client) -> None:
    accepted = accept(api, {"prompts": ["A joke about food", "Never [[latency:60]]"]})
    done, endless = accepted["task_ids"]
    assert ended(api, [done])[0]["status"] == "completed"

    refused = api.post(f"/tasks/{done}/cancel")
    twice = [api.post(f"/tasks/{endless}/cancel") for _ in range(2)]

    assert (problem(refused), refused.json()["task_status"]) == ((409, "already_ended"), "completed")
    assert [(answer.status_code, answer.json()["status"]) for answer in twice] == [(200, "cancelled")] * 2
    assert look_up(api, [done])[0]["status"] == "completed"
