"""Test submit and status end to end with SQS and Redis."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from common.domain.task import Answer as ModelAnswer
from common.domain.task import FailureCode, TaskRef
from common.domain.transitions import Lease
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue
from tests.requests import messages_of, params_of

PROMPTS = ["Tell me a joke", {"prompt": "And another", "custom_id": "second", "model": "large", "params": {"seed": 1}}]


def test_prompts_are_answered_with_ids_and_put_on_the_queue(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": PROMPTS, "system": "Be brief"})

    assert answer.status == 202
    batch_id = answer.body["batch_id"]
    assert answer.body["task_ids"] == [f"{batch_id}-0", f"{batch_id}-1"]
    assert answer.body["status"] == "queued"
    assert answer.body["tasks"] == [
        {"task_id": f"{batch_id}-0", "custom_id": None, "status": "queued"},
        {"task_id": f"{batch_id}-1", "custom_id": "second", "status": "queued"},
    ]
    assert int(answer.headers["Retry-After"]) >= 1
    first, second = queue.drain()
    assert first.task.ref == TaskRef(api.tenant, batch_id, 0)
    assert [each["content"] for each in messages_of(first)] == ["Be brief", "Tell me a joke"]
    assert [each["role"] for each in messages_of(first)] == ["system", "user"]
    assert (second.task.model, second.task.custom_id, params_of(second)) == ("large", "second", {"seed": 1})
    assert first.task.deadline_ms - first.task.created_ms == 21_600_000


def test_a_template_becomes_one_task_an_input(api: Api, queue: Queue) -> None:
    topics = ["a magical forest", "a brave robot"]
    call = {"template": "Write a short story about {topic}.", "inputs": [{"topic": topic} for topic in topics]}

    answer = api.post(call)
    refused = api.post({**call, "inputs": [{"topic": "x"}, {"tpoic": "y"}]})

    assert answer.status == 202
    messages = queue.drain()
    assert [message.task.ref.task_id for message in messages] == answer.body["task_ids"]
    assert [messages_of(message) for message in messages] == [
        [{"role": "user", "content": f"Write a short story about {topic}."}] for topic in topics
    ]
    assert (refused.status, refused.body["code"]) == (400, "missing_variable")
    assert refused.body["errors"][0]["pointer"] == "/inputs/1/topic"


def test_a_call_may_say_how_long_its_tasks_are_kept(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": ["a"], "deadline_seconds": 60, "retention_seconds": 2_592_000})

    [message] = queue.drain()
    assert message.task.retention_ms == 2_592_000_000
    task = api.get(f"tasks/{answer.body['task_ids'][0]}").body
    batch = api.get(f"batches/{answer.body['batch_id']}").body
    for name in ("created_at", "deadline_at", "expires_at"):
        assert answer.body[name] == task[name] == batch[name]
    kept = datetime.fromisoformat(task["expires_at"]) - datetime.fromisoformat(task["deadline_at"])
    assert kept == timedelta(days=30)


def test_an_id_whose_time_is_over_is_gone(api: Api) -> None:
    old = "0" * 36

    assert api.get(f"tasks?task_ids={old}-0,{'v' * 36}-0").body["tasks"] == [
        {"task_id": f"{old}-0", "status": "expired"},
        {"task_id": f"{'v' * 36}-0", "status": "not_found"},
    ]
    for answer in (api.get(f"tasks/{old}-0"), api.get(f"batches/{old}"), api.take_back(f"tasks/{old}-0")):
        assert (answer.status, answer.body["code"]) == (410, "expired")


def test_every_link_of_an_answer_leads_somewhere(api: Api) -> None:
    answer = api.post({"prompts": PROMPTS})

    batch = api.get(answer.follow(answer.headers["Location"]))
    tasks = api.get(answer.follow(answer.body["links"]["tasks"]))

    assert answer.headers["Location"] == answer.body["links"]["batch"]
    assert batch.body["batch_id"] == answer.body["batch_id"]
    assert [task["task_id"] for task in tasks.body["tasks"]] == answer.body["task_ids"]


def test_a_batch_shows_what_its_caller_noted_of_it(api: Api) -> None:
    answer = api.post({"prompts": ["a"], "metadata": {"campaign": "spring"}})

    assert api.get(f"batches/{answer.body['batch_id']}").body["metadata"] == {"campaign": "spring"}
    assert "metadata" not in api.get(f"batches/{api.post({'prompts': ['a']}).body['batch_id']}").body


def test_a_task_is_shown_alone_as_among_others(api: Api) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]

    alone = api.get(f"tasks/{task_id}")
    among = api.get(f"tasks?task_ids={task_id}")

    assert (alone.status, among.status) == (200, 200)
    assert [alone.body] == among.body["tasks"]
    assert (alone.body["status"], alone.body["progress"], alone.body["model"]) == ("queued", 0, "small")
    assert alone.headers["Retry-After"] == among.headers["Retry-After"] == "2"


@pytest.mark.parametrize("separator", [",", "%2C", "%2c", "&task_ids=", ",%20"])
def test_ids_may_be_given_in_any_spelling_of_a_list(api: Api, separator: str) -> None:
    ids = api.post({"prompts": ["a", "b", "c"]}).body["task_ids"][::-1]

    answer = api.get(f"tasks?task_ids={separator.join(ids)}")

    assert [task["task_id"] for task in answer.body["tasks"]] == ids


def test_unknown_and_foreign_ids_are_not_found_in_their_place(api: Api) -> None:
    [mine] = api.post({"prompts": ["a"]}).body["task_ids"]
    [theirs] = api.post({"prompts": ["a"]}, tenant="another").body["task_ids"]

    answer = api.get(f"tasks?task_ids=x,{theirs},{mine},%F0%9F%98%80,{{}}*")

    assert answer.status == 200
    assert [task["status"] for task in answer.body["tasks"]] == [
        "not_found",
        "not_found",
        "queued",
        "not_found",
        "not_found",
    ]
    assert api.get(f"tasks/{theirs}").status == 404
    assert api.get(f"tasks/{theirs}", tenant="another").status == 200
    assert api.get(f"batches/{theirs.rpartition('-')[0]}").status == 404


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("tasks", 400, "no_task_ids"),
        ("tasks?task_ids=", 400, "no_task_ids"),
        (f"tasks?task_ids={'x,' * 1_001}", 400, "too_many_task_ids"),
        (f"tasks?task_ids={'x' * 65}", 400, "task_id_too_long"),
        ("tasks/x", 404, "not_found"),
        ("tasks/%00", 404, "not_found"),
        (f"tasks/{'x' * 5_000}", 404, "not_found"),
        ("batches/x", 404, "not_found"),
        ("batches/x?limit=0", 400, "invalid_limit"),
        ("batches/x?cursor=-1", 400, "invalid_cursor"),
        ("batches/x?status=ended", 400, "invalid_status"),
        ("batches/x?fields=result", 400, "invalid_fields"),
        ("tasks/x?fields=prompt", 400, "invalid_fields"),
        ("tasks?task_ids=x&fields=prompt", 400, "invalid_fields"),
        ("nothing", 404, "not_found"),
    ],
)
def test_a_question_that_cannot_be_answered_is_a_problem(api: Api, url: str, status: int, code: str) -> None:
    answer = api.get(url)

    assert (answer.status, answer.body["status"], answer.body["code"]) == (status, status, code)


def test_a_result_is_readable_once_a_worker_has_written_it(api: Api, queue: Queue) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    [message] = queue.drain()
    work(api, Lease(message.task, "owner", 10_000, 3), ModelAnswer("Ha 😀\0", "length"))

    answer = api.get(f"tasks/{task_id}")

    assert (answer.body["status"], answer.body["progress"], answer.body["result"]) == ("completed", 100, "Ha 😀\0")
    assert answer.body["truncated"] is True
    [attempt] = answer.body["attempts"]
    assert set(attempt) == {"started_at", "ended_at"}
    assert "Retry-After" not in answer.headers
    batch = api.get(f"batches/{task_id.rpartition('-')[0]}")
    assert (batch.body["status"], batch.body["progress"]) == ("ended", 100)
    assert "result" not in batch.body["tasks"][0]


def work(api: Api, lease: Lease, answer: ModelAnswer) -> None:
    """Do the worker's part, on the loop that the Redis client is bound to."""
    store = api.worker
    api.status.runner.run(store.claim(lease))
    api.status.runner.run(store.complete(lease, answer))


def test_large_results_come_page_by_page(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": ["a"] * 4})
    for message in queue.drain():
        work(api, Lease(message.task, "owner", 10_000, 3), ModelAnswer('"' * 600_000, "stop"))

    shown: list[dict[str, Any]] = []
    page = api.get("tasks?task_ids=" + ",".join(answer.body["task_ids"]))
    pages = 1
    shown += page.body["tasks"]
    while "next" in page.body:
        page = api.get(page.follow(page.body["next"]))
        shown += page.body["tasks"]
        pages += 1

    assert pages == 2
    assert [task["task_id"] for task in shown] == answer.body["task_ids"]


def test_a_batch_is_paged_by_its_links(api: Api) -> None:
    answer = api.post({"prompts": ["a"] * 5})

    page = api.get(answer.follow(answer.headers["Location"]) + "?limit=2")
    shown = page.body["tasks"]
    while "next" in page.body:
        page = api.get(page.follow(page.body["next"]))
        shown += page.body["tasks"]

    assert page.body["counts"]["queued"] == page.body["size"] == 5
    assert [task["task_id"] for task in shown] == answer.body["task_ids"]


def test_the_failed_of_a_batch_are_listed_with_their_reasons(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": ["a", "b", "c"]})
    for message in queue.drain()[1:]:
        store, run = api.worker, api.status.runner.run
        lease = Lease(message.task, "owner", 10_000, 3)
        run(store.claim(lease))
        run(store.fail(lease, FailureCode.CONTENT_POLICY))

    first = api.get(f"batches/{answer.body['batch_id']}?status=failed&limit=1&fields=tasks")
    second = api.get(first.follow(first.body["next"]))

    shown = first.body["tasks"] + second.body["tasks"]
    assert [task["task_id"] for task in shown] == answer.body["task_ids"][1:]
    assert [task["error"]["code"] for task in shown] == ["content_policy"] * 2
    assert first.body.keys() == {"batch_id", "status", "tasks", "next"}
    assert second.body.keys() == {"batch_id", "status", "tasks"}


def test_an_answer_may_be_cut_to_some_fields(api: Api, queue: Queue) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    [message] = queue.drain()
    work(api, Lease(message.task, "owner", 10_000, 3), ModelAnswer("Ha", "stop"))

    alone = api.get(f"tasks/{task_id}?fields=progress")
    among = api.get(f"tasks?task_ids={task_id}&fields=result")

    assert alone.body == {
        "task_id": task_id,
        "batch_id": message.task.ref.batch_id,
        "status": "completed",
        "progress": 100,
    }
    assert among.body["tasks"][0]["result"] == "Ha"
    assert "progress" not in among.body["tasks"][0]


def test_what_has_not_changed_is_not_sent_again(api: Api, queue: Queue) -> None:
    accepted = api.post({"prompts": ["a"]}).body
    [task_id] = accepted["task_ids"]
    urls = [f"tasks/{task_id}", f"tasks?task_ids={task_id}", f"batches/{accepted['batch_id']}"]
    tags = [api.get(url).headers["ETag"] for url in urls]

    for url, tag in zip(urls, tags, strict=True):
        same = api.get(url, {"If-None-Match": tag})
        assert (same.status, same.body, same.headers["ETag"], same.headers["Retry-After"]) == (304, None, tag, "2")

    [message] = queue.drain()
    work(api, Lease(message.task, "owner", 10_000, 3), ModelAnswer("Ha", "stop"))
    for url, tag in zip(urls, tags, strict=True):
        assert api.get(url, {"if-none-match": tag}).status == 200


# ─── Idempotency ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_repeat_with_the_same_key_gets_the_same_answer_and_sends_nothing(api: Api, queue: Queue) -> None:
    first = api.post({"prompts": PROMPTS}, key="k")
    again = api.post(json.dumps({"prompts": PROMPTS}, indent=1), key="k")

    assert first.status == again.status == 202
    assert again.body == first.body
    assert again.headers.get("Idempotent-Replayed") == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(queue.drain()) == len(PROMPTS)


def test_the_same_key_with_another_body_is_a_conflict(api: Api, queue: Queue) -> None:
    api.post({"prompts": ["a"]}, key="k")

    answer = api.post({"prompts": ["b"]}, key="k")

    assert (answer.status, answer.body["code"]) == (409, "idempotency_key_reused")
    assert len(queue.drain()) == 1


def test_a_bad_key_is_refused(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": ["a"]}, key="é")

    assert (answer.status, answer.body["code"]) == (400, "invalid_idempotency_key")
    assert queue.drain() == []


# ─── Limits and faults ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_call_arrives_whole(api: Api, queue: Queue) -> None:
    texts = [f"{index} " + "é" * 16_000 for index in range(50)]  # 96 kB each in the queue, 4.8 MB together

    answer = api.post({"prompts": texts})

    assert answer.status == 202
    assert [messages_of(message)[0]["content"] for message in queue.drain()] == texts


def test_one_bad_prompt_refuses_the_whole_call_before_anything_is_written(api: Api, queue: Queue) -> None:
    answer = api.post({"prompts": ["fine", {"prompt": "x", "params": {"temperature": 9}}]}, key="k")

    assert (answer.status, answer.body["errors"][0]["pointer"]) == (400, "/prompts/1/params/temperature")
    assert queue.drain() == []
    # Nothing holds the key either.
    assert api.post({"prompts": ["fine"]}, key="k").status == 202


def test_a_queue_that_is_gone_is_a_503_and_what_was_recorded_is_taken_back(
    api: Api, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = api.submit.submissions._services["tasks"]._queue
    monkeypatch.setattr(sender, "_url", queue.url + "-gone")

    without_key = api.post({"prompts": ["a"]})
    with_key = api.post({"prompts": ["a"]}, key="k")
    monkeypatch.undo()
    repeat = api.post({"prompts": ["a"]}, key="k")

    for answer in (without_key, with_key):
        assert (answer.status, answer.body["code"]) == (503, "queue_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert repeat.status == 202
    [message] = queue.drain()
    assert message.task.ref.task_id == repeat.body["task_ids"][0]


def test_no_prompt_is_ever_logged(api: Api, queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "my-secret-prompt"
    api.post({"prompts": [secret]})
    api.post({"prompts": [secret], secret: 1})
    api.post({"prompts": [{"prompt": secret, "params": {"stop": [1, secret]}}]})
    api.post(f'{{"prompts": ["{secret}"')
    queue.drain()

    captured = capsys.readouterr()
    assert secret not in captured.out + captured.err
    assert '"TasksSubmitted":[1.0]' in captured.out
