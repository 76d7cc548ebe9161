"""Test POST /batches/{batch_id}/retry: each failed task is retried once."""

from typing import Any

import pytest

from common.domain.message import TaskMessage
from common.domain.task import Answer as ModelAnswer
from common.domain.task import FailureCode, TaskRef
from common.domain.transitions import Lease
from common.store.keys import task_key
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue
from tests.requests import messages_of, params_of

PROMPTS: list[Any] = [
    {"prompt": "Is it?", "custom_id": "first", "params": {"seed": 7}, "expected_tokens": 9},
    {"prompt": "José\N{EM DASH}¿qué?", "custom_id": "second", "model": "large"},
    "A third",
    "A fourth",
]


class Work:
    """Do what a worker does, by the messages of a batch."""

    def __init__(self, api: Api, messages: list[TaskMessage]) -> None:
        self._store = api.worker
        self._run = api.status.runner.run
        self._messages = messages

    def fail(self, *indexes: int, keeping: bool = True) -> None:
        for message in self._of(indexes):
            lease = Lease(message.task, f"owner-{message.task.ref.index}", 60_000, 3)
            self._run(self._store.claim(lease))
            self._run(self._store.fail(lease, FailureCode.CONTENT_POLICY))
            if keeping:
                self.keep(message.task.ref.index)

    def keep(self, *indexes: int) -> None:
        for message in self._of(indexes):
            self._run(self._store.save_request(message.task.ref, message.encode()))

    def complete(self, *indexes: int) -> None:
        for message in self._of(indexes):
            self._run(self._store.complete(Lease(message.task, "owner", 60_000, 3), ModelAnswer("yes", "stop")))

    def lose(self, ref: TaskRef) -> None:
        """Let a record expire."""
        self._run(self._store._scripts._client.delete(task_key(ref)))

    def _of(self, indexes: tuple[int, ...]) -> list[TaskMessage]:
        return [message for message in self._messages if message.task.ref.index in indexes]


def started(api: Api, queue: Queue, **more: object) -> tuple[dict[str, Any], Work, list[TaskMessage]]:
    answer = api.post({"prompts": PROMPTS, "model": "small", **more})
    assert answer.status == 202, answer.body
    messages = queue.drain()
    return answer.body, Work(api, messages), messages


def break_off(api: Api, batch_id: str, headers: dict[str, str] | None = None) -> None:
    """Retry a batch while the queue takes no messages."""
    queue = api.submit.submissions._services["tasks"]._queue
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "_url", queue._url + "-gone")
        refused = api.retry(batch_id, headers)
    assert (refused.status, refused.body["code"]) == (503, "queue_unavailable")


def test_the_failed_are_asked_again_with_all_that_they_came_with(api: Api, queue: Queue) -> None:
    # GIVEN a batch of which two have failed
    old, work, messages = started(
        api, queue, system="Be brief.", metadata={"of": "spring"}, deadline_seconds=600, retention_seconds=4000
    )
    work.fail(0, 1)
    work.complete(2)

    # WHEN it is retried
    answer = api.retry(old["batch_id"])

    # THEN there is a new batch of those two, in their order
    assert answer.status == 202
    assert answer.headers["Retry-After"] == "1"
    assert "Idempotent-Replayed" not in answer.headers
    body = answer.body
    assert [(each["custom_id"], each["retry_of"], each["status"]) for each in body["tasks"]] == [
        ("first", old["task_ids"][0], "queued"),
        ("second", old["task_ids"][1], "queued"),
    ]
    assert body["not_retried"] == []
    batch = api.get(answer.follow(answer.headers["Location"])).body
    assert (batch["batch_id"], batch["size"], batch["metadata"]) == (body["batch_id"], 2, {"of": "spring"})
    shown = api.get(answer.follow(body["links"]["tasks"])).body["tasks"]
    assert [task["task_id"] for task in shown] == body["task_ids"]
    # … with what they asked, and the times of the old call
    sent = queue.drain()
    for old_message, new in zip(messages, sent, strict=False):
        assert (messages_of(new), params_of(new), new.expected_tokens) == (
            messages_of(old_message),
            params_of(old_message),
            old_message.expected_tokens,
        )
        assert (new.task.model, new.task.custom_id) == (old_message.task.model, old_message.task.custom_id)
        assert new.task.deadline_ms - new.task.created_ms == 600_000
        assert new.task.retention_ms == 4_000_000
    assert [message.task.ref.task_id for message in sent] == body["task_ids"]
    # … and the old tasks stay as they were, but say what became of them
    first, *_, fourth = (api.get(f"tasks/{task_id}").body for task_id in old["task_ids"])
    assert (first["status"], first["retried_as"], len(first["attempts"])) == ("failed", body["task_ids"][0], 1)
    assert "retried_as" not in fourth


def test_a_repeat_answers_the_same_batch_and_sends_nothing(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0, 1)
    first = api.retry(old["batch_id"])
    assert len(queue.drain()) == 2

    again = api.retry(old["batch_id"])

    assert again.status == 202
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.body == first.body
    assert queue.drain() == []


def test_what_failed_since_is_retried_alone(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0)
    first = api.retry(old["batch_id"])
    work.fail(2)

    second = api.retry(old["batch_id"])

    assert [task["retry_of"] for task in second.body["tasks"]] == [old["task_ids"][2]]
    assert second.body["not_retried"] == [
        {"task_id": old["task_ids"][0], "code": "already_retried", "retried_as": first.body["task_ids"][0]}
    ]
    assert len(queue.drain()) == 2
    assert api.retry(old["batch_id"]).body == second.body


def test_a_key_always_gets_the_answer_of_its_first_call(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0)
    first = api.retry(old["batch_id"], {"Idempotency-Key": "k"})
    work.fail(1)
    again = api.retry(old["batch_id"], {"Idempotency-Key": "k"})
    other = api.retry(old["batch_id"], {"Idempotency-Key": "l"})
    last = api.retry(old["batch_id"], {"Idempotency-Key": "m"})

    assert (again.headers["Idempotent-Replayed"], again.body["task_ids"]) == ("true", first.body["task_ids"])
    assert [task["retry_of"] for task in other.body["tasks"]] == [old["task_ids"][1]]
    assert (last.headers["Idempotent-Replayed"], last.body["task_ids"]) == ("true", other.body["task_ids"])
    assert len(queue.drain()) == 2


def test_a_retry_that_could_not_be_sent_is_sent_by_its_repeat_and_by_nothing_else(api: Api, queue: Queue) -> None:
    # GIVEN a retry whose messages the queue has not taken
    old, work, _ = started(api, queue)
    work.fail(0, 1)
    break_off(api, old["batch_id"])

    # WHEN another task fails, and the call is repeated
    work.fail(2)
    finished = api.retry(old["batch_id"])

    # THEN that sends what the first call had taken, and the next one the rest
    assert [task["retry_of"] for task in finished.body["tasks"]] == old["task_ids"][:2]
    assert {"task_id": old["task_ids"][2], "code": "failed_since"} in finished.body["not_retried"]
    rest = api.retry(old["batch_id"])
    assert [task["retry_of"] for task in rest.body["tasks"]] == [old["task_ids"][2]]
    assert len(queue.drain()) == 3


def test_whoever_has_a_broken_off_retry_sent_is_told_its_ids_under_another_key_too(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0, 1)
    break_off(api, old["batch_id"], {"Idempotency-Key": "k"})

    finished = api.retry(old["batch_id"], {"Idempotency-Key": "l"})

    assert (finished.status, "Idempotent-Replayed" in finished.headers) == (202, False)
    assert [message.task.ref.task_id for message in queue.drain()] == finished.body["task_ids"]
    for key in ("k", "l"):
        again = api.retry(old["batch_id"], {"Idempotency-Key": key})
        assert (again.headers["Idempotent-Replayed"], again.body) == ("true", finished.body)
    assert queue.drain() == []


def test_a_repeat_still_answers_when_tasks_that_were_retried_have_expired(api: Api, queue: Queue) -> None:
    old, work, messages = started(api, queue)
    work.fail(0, 1)
    first = api.retry(old["batch_id"]).body
    work.lose(messages[0].task.ref)

    again = api.retry(old["batch_id"])

    assert (again.status, again.body["task_ids"]) == (202, first["task_ids"])
    assert [task["retry_of"] for task in again.body["tasks"]] == [None, old["task_ids"][1]]


def test_a_retry_of_which_tasks_expired_before_it_was_sent_is_gone(api: Api, queue: Queue) -> None:
    old, work, messages = started(api, queue)
    work.fail(0, 1)
    break_off(api, old["batch_id"])
    work.lose(messages[0].task.ref)

    answer = api.retry(old["batch_id"])

    assert (answer.status, answer.body["code"]) == (410, "gone")
    assert queue.drain() == []


def test_what_keeps_no_request_is_named_until_it_does(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0)
    work.fail(1, keeping=False)

    answer = api.retry(old["batch_id"])
    assert answer.body["not_retried"] == [{"task_id": old["task_ids"][1], "code": "request_not_kept"}]

    work.keep(1)
    assert [task["retry_of"] for task in api.retry(old["batch_id"]).body["tasks"]] == [old["task_ids"][1]]


def test_where_nothing_has_failed_nothing_is_retried(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.complete(0)

    answer = api.retry(old["batch_id"])

    assert (answer.status, answer.body["code"]) == (409, "nothing_to_retry")
    work.fail(1, keeping=False)
    assert api.retry(old["batch_id"]).body["code"] == "nothing_to_retry"
    assert queue.drain() == []


def test_nobody_retries_what_is_not_theirs_or_not_there(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0)

    assert api.retry(old["batch_id"], tenant="rival").status == 404
    assert api.retry("v" + "0" * 35).status == 404
    assert api.retry("0" * 36).status == 410
    assert api.retry("nonsense").status == 404
    assert api.retry(old["batch_id"], {"Idempotency-Key": "é"}).body["code"] == "invalid_idempotency_key"
    assert queue.drain() == []


def test_a_retry_can_be_retried(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0)
    first = api.retry(old["batch_id"]).body
    Work(api, queue.drain()).fail(0)

    second = api.retry(first["batch_id"]).body

    assert [task["retry_of"] for task in second["tasks"]] == first["task_ids"]
    assert second["tasks"][0]["custom_id"] == "first"
    assert len(queue.drain()) == 1


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
def test_a_large_batch_is_retried_whole(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": ["x" * 90_000] * 50})
    messages = queue.drain()
    Work(api, messages).fail(*range(50))

    retried = api.retry(answer.body["batch_id"])

    assert len(retried.body["task_ids"]) == 50
    assert [messages_of(message) for message in queue.drain()] == [messages_of(message) for message in messages]


def test_a_key_retries_only_what_it_may_ask(api: Api, queue: Queue) -> None:
    old, work, _ = started(api, queue)
    work.fail(0, 1)
    api.context = {"models": '["small"]'}

    answer = api.retry(old["batch_id"])

    assert [task["custom_id"] for task in answer.body["tasks"]] == ["first"]
    assert answer.body["not_retried"] == [{"task_id": old["task_ids"][1], "code": "model_not_allowed"}]
