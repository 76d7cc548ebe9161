"""Test that a call's webhook is validated, stored with its batch and messages, and notified of the end."""

import json
from typing import Any

import pytest

from common.domain.task import Answer, FailureCode
from common.domain.transitions import Lease
from common.webhooks.model import Webhook
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue

URL = "https://hooks.example/batches?token=t"


def call(webhook: object, *prompts: str) -> dict[str, Any]:
    return {"prompts": prompts or ["Attack at dawn"], "webhook": webhook, "metadata": {"plan": "secret"}}


@pytest.mark.parametrize(
    ("webhook", "pointer", "code"),
    [
        ("https://hooks.example", "/webhook", "invalid_value"),
        ({}, "/webhook", "invalid_value"),
        ({"url": URL, "secret": "s"}, "/webhook/secret", "unknown_field"),
        ({"url": 1}, "/webhook/url", "invalid_value"),
        ({"url": ""}, "/webhook/url", "invalid_value"),
        ({"url": "http://hooks.example"}, "/webhook/url", "invalid_webhook_url"),
        ({"url": "https://10.0.0.1"}, "/webhook/url", "invalid_webhook_url"),
        ({"url": "http://127.0.0.1:80"}, "/webhook/url", "invalid_webhook_url"),
        ({"url": "https://a:b@hooks.example"}, "/webhook/url", "invalid_webhook_url"),
        ({"url": "https://hooks.example/" + "a" * 2048}, "/webhook/url", "invalid_value"),
        ({"url": URL, "events": []}, "/webhook/events", "invalid_value"),
        ({"url": URL, "events": ["batch.started"]}, "/webhook/events/0", "unknown_event"),
    ],
    ids=str,
)
def test_a_webhook_that_breaks_a_rule_is_refused_by_its_place(
    api: Api, queue: Queue, webhook: object, pointer: str, code: str
) -> None:
    refused = api.post(call(webhook))

    assert (refused.status, refused.body["code"]) == (400, code)
    assert refused.body["errors"][0]["pointer"] == pointer
    assert "hooks.example" not in json.dumps(refused.body)
    assert queue.drain() == []


def test_the_end_of_a_batch_is_announced_once_when_the_rest_of_it_is_cancelled(
    api: Api, queue: Queue, webhooks: Queue
) -> None:
    # GIVEN a batch of two, of which a worker has failed one
    accepted = api.post(call({"url": URL}, "Attack at dawn", "Hold the line")).body
    first, last = queue.drain()
    assert first.task.webhook == last.task.webhook == Webhook(URL)
    lease = Lease(first.task, "owner", 60_000, 3)
    api.status.runner.run(api.worker.claim(lease))
    api.status.runner.run(api.worker.fail(lease, FailureCode.CONTENT_POLICY))
    batch = f"batches/{accepted['batch_id']}"
    assert api.get(batch).body["webhook"] == {
        "url": URL,
        "events": ["batch.completed"],
        "status": "pending",
        "attempts": 0,
    }
    assert webhooks.events() == []

    # WHEN the other one is cancelled, and everything is looked at again
    assert api.take_back(batch).status == 200
    api.get(batch)
    api.take_back(batch)

    # THEN that is on its queue once, without a word of the caller's
    [event] = webhooks.events()
    assert (event.tenant, event.batch_id, event.url) == (api.tenant, accepted["batch_id"], URL)
    assert event.counts == {"completed": 0, "failed": 1, "cancelled": 1}
    assert not [word for word in ("Attack", "line", "plan", "secret") if word in event.encode()]


def test_the_events_may_be_named(api: Api) -> None:
    accepted = api.post(call({"url": URL, "events": ["batch.completed"]})).body

    assert api.get(f"batches/{accepted['batch_id']}?fields=webhook").body["webhook"]["events"] == ["batch.completed"]


def test_a_batch_without_a_webhook_shows_none_and_its_messages_have_none(api: Api, queue: Queue) -> None:
    accepted = api.post({"prompts": ["Hold the line"]}).body

    [message] = queue.drain()
    assert "webhook" not in message.encode()
    assert "webhook" not in api.get(f"batches/{accepted['batch_id']}").body


def test_another_webhook_is_another_request_to_an_idempotency_key(api: Api) -> None:
    first = api.post(call({"url": URL}), key="order")

    assert api.post(call({"url": URL}), key="order").body["batch_id"] == first.body["batch_id"]
    assert api.post(call({"url": URL + "2"}), key="order").body["code"] == "idempotency_key_reused"


def test_a_retry_tells_its_own_end_to_the_same_address(api: Api, queue: Queue) -> None:
    # GIVEN a batch whose task has failed, which was told
    accepted = api.post(call({"url": URL})).body
    [message] = queue.drain()
    run, lease = api.status.runner.run, Lease(message.task, "owner", 60_000, 3)
    run(api.worker.claim(lease))
    run(api.worker.fail(lease, FailureCode.CONTENT_POLICY))
    run(api.worker.save_request(message.task.ref, message.encode()))

    # WHEN it is retried, and the new task has its answer
    retried = api.retry(accepted["batch_id"])
    assert retried.status == 202, retried.body
    [again] = queue.drain()
    lease = Lease(again.task, "owner", 60_000, 3)
    run(api.worker.claim(lease))
    run(api.worker.complete(lease, Answer("At dawn it is.", "stop")))

    # THEN the new batch has the webhook too; a reader finds what that worker, who has no queue here, has not told
    assert again.task.webhook == Webhook(URL)
    batch = api.get(f"batches/{retried.body['batch_id']}").body
    assert (batch["webhook"]["url"], batch["webhook"]["status"]) == (URL, "pending")
