"""Test POST /workflows/{name} and GET /workflows with the handler, a real Redis and a real queue."""

from typing import Any

import pytest

from common.domain.request import Kind, Request
from common.domain.task import FailureCode
from common.domain.transitions import Lease
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue


def test_each_input_becomes_a_task_for_the_workflow_worker(api: Api, queue: Queue, workflow_queue: Queue) -> None:
    inputs = [{"topic": "trees"}, {"topic": "the sea", "custom_id": "second"}]

    answer = api.start("story", {"inputs": inputs, "metadata": {"of": "spring"}, "deadline_seconds": 600})

    assert answer.status == 202, answer.body
    assert [task["custom_id"] for task in answer.body["tasks"]] == [None, "second"]
    first, second = workflow_queue.drain()
    assert (first.request.body, second.request.body) == ({"topic": "trees"}, {"topic": "the sea"})
    assert (first.task.kind, first.task.model) == (Kind.WORKFLOW, "story")
    assert first.request.kind is Kind.WORKFLOW
    assert queue.drain() == []


def test_its_links_lead_to_its_batch_and_its_tasks(api: Api) -> None:
    answer = api.start("story", {"inputs": [{"topic": "trees"}]})

    batch = api.get(answer.follow(answer.body["links"]["batch"]))
    assert batch.body["counts"]["queued"] == 1
    assert api.get(answer.follow(answer.headers["Location"])).body == batch.body
    [task] = api.get(answer.follow(answer.body["links"]["tasks"])).body["tasks"]
    assert (task["model"], task["status"]) == ("workflow/story", "queued")


@pytest.mark.parametrize(
    ("workflow", "given", "pointer", "rule"),
    [
        ("story", {}, "/inputs/1/topic", "is missing"),
        ("story", {"topic": 7}, "/inputs/1/topic", "must be string"),
        ("story", {"topic": ""}, "/inputs/1/topic", "must be longer than or equal to 1 characters"),
        ("story", {"topic": "x", "length": 3}, "/inputs/1/length", "is not a field here; there are topic"),
        ("story", {"topic": "x", "custom_id": ""}, "/inputs/1/custom_id", "Expected `str` of length >= 1"),
        ("summarize_articles", {"articles": []}, "/inputs/1/articles", "must contain at least 1 items"),
        ("summarize_articles", {"articles": ["a", 7]}, "/inputs/1/articles/1", "must be string"),
    ],
)
def test_an_input_that_the_workflow_does_not_take_is_named(
    api: Api, workflow: str, given: dict[str, Any], pointer: str, rule: str
) -> None:
    good = {"topic": "trees"} if workflow == "story" else {"articles": ["a"]}

    answer = api.start(workflow, {"inputs": [good, given]})

    assert answer.status == 400
    [error] = answer.body["errors"]
    assert (error["pointer"], error["detail"]) == (pointer, rule)
    assert error["code"] == ("unknown_field" if pointer.endswith("length") else "invalid_value")


def test_a_call_with_a_bad_input_is_refused_whole(api: Api, workflow_queue: Queue) -> None:
    assert api.start("story", {"inputs": [{"topic": "trees"}, {}]}).status == 400
    assert workflow_queue.drain() == []


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"inputs": []}, "/inputs", "no_prompts"),
        ({"inputs": [{"topic": "x"}] * 51}, "/inputs", "too_many_prompts"),
        ({"inputs": [{"topic": "x"}], "model": "small"}, "/model", "unknown_field"),
        ({"inputs": [{"topic": "x", "custom_id": "a"}] * 2}, "/inputs/1/custom_id", "duplicate_custom_id"),
    ],
)
def test_a_call_of_a_workflow_is_held_to_the_rules_of_every_call(
    api: Api, body: dict[str, Any], pointer: str, code: str
) -> None:
    answer = api.start("story", body)

    assert answer.status in {400, 413}
    assert (answer.body["errors"][0]["pointer"], answer.body["errors"][0]["code"]) == (pointer, code)


def test_an_unknown_workflow_is_not_found(api: Api) -> None:
    answer = api.start("novel", {"inputs": [{"topic": "x"}]})

    assert (answer.status, answer.body["code"]) == (404, "unknown_workflow")


def test_the_workflows_are_listed_with_what_they_take(api: Api) -> None:
    listed = {entry["name"]: entry for entry in api.workflows().body["workflows"]}

    assert set(listed) == {"story", "summarize_articles", "translate_and_review"}
    assert listed["story"]["description"] == "Write a short story about a topic."
    assert listed["story"]["input_schema"]["required"] == ["topic"]


def test_a_key_that_names_its_models_may_start_the_workflows_among_them_and_sees_no_other(api: Api) -> None:
    api.context = {"models": '["small", "workflow/story"]'}

    assert [entry["name"] for entry in api.workflows().body["workflows"]] == ["story"]
    assert api.start("story", {"inputs": [{"topic": "x"}]}).status == 202
    refused = api.start("translate_and_review", {"inputs": [{"text": "x", "language": "German"}]})
    assert (refused.status, refused.body["code"]) == (404, "unknown_workflow")


def test_a_repeat_with_its_idempotency_key_is_the_same_batch_and_another_workflow_is_not(
    api: Api, workflow_queue: Queue
) -> None:
    key = {"Idempotency-Key": "one"}
    first = api.start("story", {"inputs": [{"topic": "x"}]}, key)
    repeat = api.start("story", {"inputs": [{"topic": "x"}]}, key)
    other = api.start("translate_and_review", {"inputs": [{"text": "x", "language": "German"}]}, key)

    assert repeat.body["task_ids"] == first.body["task_ids"]
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert (other.status, other.body["code"]) == (409, "idempotency_key_reused")
    assert len(workflow_queue.drain()) == 1


def test_a_failed_one_is_retried_by_the_workflow_worker_with_its_input(
    api: Api, queue: Queue, workflow_queue: Queue
) -> None:
    # GIVEN a workflow's task that has failed
    answer = api.start("story", {"inputs": [{"topic": "trees", "custom_id": "mine"}]})
    [message] = workflow_queue.drain()
    run = api.status.runner.run
    lease = Lease(message.task, "owner", 60_000, 3)
    run(api.worker.claim(lease))
    run(api.worker.fail(lease, FailureCode.CHAIN_FAILED, None, "ValueError"))
    run(api.worker.save_request(message.task.ref, message.encode()))
    task = api.get(f"tasks/{message.task.ref.task_id}").body
    assert (task["error"]["code"], task["error"]["type"]) == ("chain_failed", "ValueError")

    # WHEN its batch is retried
    retried = api.retry(answer.body["batch_id"])

    # THEN the same input waits for the same worker again
    assert retried.status == 202, retried.body
    [again] = workflow_queue.drain()
    assert (again.request, again.task.custom_id) == (Request(Kind.WORKFLOW, {"topic": "trees"}), "mine")
    assert (again.task.kind, again.task.model) == (Kind.WORKFLOW, "story")
    assert queue.drain() == []


def test_waiting_for_a_workflow_shows_its_tasks_in_full(api: Api) -> None:
    answer = api.start("story", {"inputs": [{"topic": "x"}]}, {"Prefer": "wait=1"})

    assert answer.status == 202
    assert answer.body["tasks"][0]["model"] == "workflow/story"
