"""Test budgets and the limit of the queue's depth through the handlers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from common.domain.backlog import BacklogQueue
from common.domain.errors import StoreUnavailable
from common.domain.task import Answer as ModelAnswer
from common.domain.task import TaskRef, Usage, batch_id_of_key
from common.domain.transitions import Lease
from common.store.backlog import BacklogStore
from common.store.keys import SENDING_LEASE_MS
from tests.integration.http import conftest
from tests.integration.http.client import Answer, Api
from tests.integration.http.queue import Queue


def refused(answer: Answer) -> tuple[int, str, str | None]:
    return answer.status, answer.body["code"], answer.body.get("budget")


def given(api: Api, **budgets: object) -> None:
    api.context = {"budgets": json.dumps(budgets)}


def answer_all(api: Api, queue: Queue) -> None:
    for message in queue.drain():
        lease = Lease(message.task, "owner", 60_000, 3)
        api.status.runner.run(api.worker.complete(lease, ModelAnswer("yes", "stop", Usage(4, 6, 10), (), 1_000_000)))


def test_requests_are_counted_when_they_are_accepted(api: Api, queue: Queue) -> None:
    given(api, requests=5)
    assert api.post({"prompts": ["a", "b", "c"]}, key="k").status == 202
    assert api.post({"prompts": ["a", "b", "c"]}, key="k").headers["Idempotent-Replayed"] == "true"

    over = api.post({"prompts": ["a", "b", "c"]})

    assert refused(over) == (429, "budget_exhausted", "requests")
    assert 0 < int(over.headers["Retry-After"]) <= 86_400
    assert api.post({"prompts": ["a", "b"]}).status == 202
    assert refused(api.post({"prompts": ["a"]})) == (429, "budget_exhausted", "requests")
    # A repeat of what was accepted is answered all the same
    assert api.post({"prompts": ["a", "b", "c"]}, key="k").status == 202
    usage = api.get("usage")
    assert (usage.body["requests"], usage.body["budgets"]) == (5, {"requests": 5})
    assert len(queue.drain()) == 5


def test_a_request_that_comes_again_before_it_is_known_as_accepted_is_counted_once(
    api: Api, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise StoreUnavailable

    given(api, requests=3)
    body = {"prompts": ["a", "b", "c"]}
    with monkeypatch.context() as patched:
        patched.setattr(api.submit.store, "mark_accepted", refuse)
        patched.setattr(api.submit.store, "mark_unsent", refuse)
        assert api.post(body, key="k").status == 503

    # The budget has no room for it a second time, and needs none
    assert api.post(body, key="k").body["code"] == "idempotency_key_in_use"
    batch_id = batch_id_of_key(api.tenant, "k")
    batch = api.status.runner.run(api.worker.read_batch(api.tenant, batch_id))
    api.status.runner.run(api.worker.mark_unsent(api.tenant, batch_id, batch.created_ms + SENDING_LEASE_MS))
    again = api.post(body, key="k")
    last = api.post(body, key="k")

    assert again.status == last.status == 202
    assert again.body["task_ids"] == last.body["task_ids"]
    assert last.headers["Idempotent-Replayed"] == "true"
    assert api.get("usage").body["requests"] == 3
    assert refused(api.post({"prompts": ["a"]})) == (429, "budget_exhausted", "requests")
    queue.drain()


@pytest.mark.parametrize(("budgets", "kind"), [({"tokens": 10}, "tokens"), ({"usd": "0.001"}, "usd")])
def test_what_answers_have_used_up_refuses_calls_and_retries(
    api: Api, queue: Queue, budgets: dict[str, object], kind: str
) -> None:
    given(api, **budgets)
    assert api.post({"prompts": ["a"]}).status == 202
    answer_all(api, queue)

    assert refused(api.post({"prompts": ["a"]})) == (429, "budget_exhausted", kind)

    usage = api.get("usage").body
    assert (usage["answers"], usage["usage"]["total_tokens"], usage["cost"]) == (1, 10, {"usd": "0.001"})
    assert queue.drain() == []
    api.context = {}
    assert api.post({"prompts": ["a"]}).status == 202


def test_a_retry_is_held_to_the_budgets_and_can_be_repeated(api: Api, queue: Queue) -> None:
    given(api, requests=2)
    old = api.post({"prompts": ["a", "b"]}).body
    for message in queue.drain():
        api.status.runner.run(api.worker.dead_letter(message.task))
        api.status.runner.run(api.worker.save_request(message.task.ref, message.encode()))

    assert refused(api.retry(old["batch_id"])) == (429, "budget_exhausted", "requests")
    assert queue.drain() == []

    given(api, requests=4)
    assert len(api.retry(old["batch_id"]).body["task_ids"]) == 2
    assert [message.budgets for message in queue.drain()] != [None, None]


def test_what_cannot_be_sent_is_not_counted(api: Api, monkeypatch: pytest.MonkeyPatch, queue: Queue) -> None:
    given(api, requests=2)
    monkeypatch.setattr(api.submit.submissions._services["tasks"]._queue, "_url", queue.url + "-gone")
    assert api.post({"prompts": ["a", "b"]}).body["code"] == "queue_unavailable"
    monkeypatch.undo()

    assert api.get("usage").body["requests"] == 0
    assert api.post({"prompts": ["a", "b"]}).status == 202


def test_without_budgets_nothing_is_counted_as_a_request(api: Api) -> None:
    assert api.post({"prompts": ["a"]}).status == 202

    usage = api.get("usage").body
    assert (usage["requests"], usage["budgets"]) == (0, {})


@pytest.fixture
def cap(request: pytest.FixtureRequest, api: Api, environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start submit anew, with a queue of so many tasks and the share of it that a tenant may have."""
    for name, value in request.param.items():
        environment.setenv(name, value)
    api.submit = submit = conftest.started("submit")
    yield submit
    submit.runner.run(submit.redis.aclose())
    submit.runner.close()
    submit.sqs.close()


def look_again(submit: Any) -> None:  # noqa: ANN401  # a module
    """Let the next call ask SQS for the depth."""
    submit.submissions._services["tasks"]._admission._cap._depth._last = None


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
@pytest.mark.parametrize("cap", [{"MAX_QUEUE_DEPTH": "3", "TENANT_QUEUE_SHARE": "100"}], indirect=True)
def test_a_full_queue_refuses_calls_until_it_has_room(api: Api, queue: Queue, cap: Any) -> None:  # noqa: ANN401
    assert api.post({"prompts": ["a", "b"]}, key="k").status == 202

    full = api.post({"prompts": ["a", "b"]})

    assert refused(full) == (429, "queue_full", None)
    assert int(full.headers["Retry-After"]) >= 1
    assert api.post({"prompts": ["a", "b"]}, key="k").headers["Idempotent-Replayed"] == "true"
    assert api.post({"prompts": ["c"]}).status == 202
    assert len(queue.drain()) == 3
    look_again(cap)
    assert api.post({"prompts": ["a", "b", "c"]}).status == 202


@pytest.mark.parametrize("cap", [{"MAX_QUEUE_DEPTH": "8"}], indirect=True)
def test_one_tenant_fills_its_share_of_the_queue_and_another_sends_all_the_same(
    api: Api,
    queue: Queue,
    cap: Any,  # noqa: ANN401
) -> None:
    assert api.post({"prompts": ["a", "b", "c"]}, key="k").status == 202

    over = api.post({"prompts": ["d", "e"]})

    assert refused(over) == (429, "queue_share_full", None)
    assert int(over.headers["Retry-After"]) >= 1
    assert api.post({"prompts": ["d"]}).status == 202
    assert api.post({"prompts": ["a", "b", "c"]}, key="k").headers["Idempotent-Replayed"] == "true"
    assert refused(api.post({"prompts": ["x"] * 5})) == (413, "exceeds_queue_share", None)
    assert api.post({"prompts": ["a", "b"]}, tenant=f"{api.tenant}-other").status == 202
    assert len(queue.drain()) == 6
    assert cap.submissions._services["tasks"]._admission._cap is not None


@pytest.mark.parametrize("cap", [{"MAX_QUEUE_DEPTH": "8"}], indirect=True)
def test_a_tenant_that_cancels_has_no_more_of_the_queue_while_its_messages_are_there(
    api: Api,
    queue: Queue,
    cap: Any,  # noqa: ANN401
) -> None:
    sent = api.post({"prompts": ["a", "b", "c", "d"]}).body
    api.take_back(f"batches/{sent['batch_id']}")

    assert refused(api.post({"prompts": ["e"]})) == (429, "queue_share_full", None)

    refs = [message.task.ref for message in queue.drain()]
    cap.runner.run(BacklogStore(cap.redis).remove(BacklogQueue.TASKS, refs))
    look_again(cap)
    assert api.post({"prompts": ["e"]}).status == 202


@pytest.mark.parametrize("cap", [{"MAX_QUEUE_DEPTH": "8"}], indirect=True)
def test_a_retry_is_held_to_the_share_of_the_queue(api: Api, queue: Queue, cap: Any) -> None:  # noqa: ANN401
    old = api.post({"prompts": ["a", "b", "c"]}).body
    for message in queue.drain():
        api.status.runner.run(api.worker.dead_letter(message.task))
        api.status.runner.run(api.worker.save_request(message.task.ref, message.encode()))

    assert refused(api.retry(old["batch_id"])) == (429, "queue_share_full", None)

    refs = [TaskRef(api.tenant, old["batch_id"], index) for index in range(3)]
    cap.runner.run(BacklogStore(cap.redis).remove(BacklogQueue.TASKS, refs))
    look_again(cap)
    assert api.retry(old["batch_id"]).status == 202
