"""Test webhooks through the deployed queues and functions."""

from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks import Webhook

from common.webhooks.events import WebhookNotification
from functions.webhook.signing_keys import key_of
from local.aws import TENANT, WEBHOOK_SIGNING
from tests.local_stack import Up, eventually
from tests.receiver import HOST, receiving

pytestmark = pytest.mark.timeout(300)

SECONDS = 120


def test_a_receiver_that_fails_once_gets_the_end_of_a_batch_signed_and_the_batch_says_so(api: httpx.Client) -> None:
    with receiving() as receiver:
        # GIVEN a receiver that answers 500 first
        receiver.statuses = [500, 204]
        url = f"http://{HOST}:{receiver.port}/hook?token=mine"

        # WHEN a batch with its address has ended
        accepted = api.post("/tasks", json={"prompts": ["One", "[[fault:401]]"], "webhook": {"url": url}})
        assert accepted.status_code == 202, accepted.text
        batch_id = accepted.json()["batch_id"]
        shown = eventually(
            lambda: api.get(f"/batches/{batch_id}").json()["webhook"],
            until=lambda webhook: webhook["status"] == "delivered",
            seconds=SECONDS,
        )

    # THEN both tries brought the same event, and each verifies with the tenant's key
    assert [received.path for received in receiver.received] == ["/hook?token=mine"] * 2
    key = Webhook(key_of(WEBHOOK_SIGNING, TENANT))
    first, second = (key.verify(received.body, received.headers) for received in receiver.received)
    assert first == second
    assert first["type"] == "batch.completed"
    assert first["data"] == {
        "id": batch_id,
        "batch_id": batch_id,
        "status": "ended",
        "size": 2,
        "counts": {"completed": 1, "failed": 1, "cancelled": 0},
        "links": {"batch": f"batches/{batch_id}"},
    }
    assert {received.headers["webhook-id"] for received in receiver.received} == {f"{batch_id}.completed"}

    # AND the batch says how its delivery went
    delivered_at = datetime.fromisoformat(shown.pop("delivered_at"))
    assert delivered_at <= datetime.now(UTC)
    assert shown == {
        "url": url,
        "events": ["batch.completed"],
        "status": "delivered",
        "attempts": 2,
        "last_status_code": 204,
    }


def test_an_event_that_was_given_up_shows_on_its_batch(stack: Up, api: httpx.Client) -> None:
    with receiving() as receiver:
        # GIVEN a batch that has ended, and a receiver that does not take the news yet
        receiver.statuses = [503] * 100
        url = f"http://{HOST}:{receiver.port}/"
        accepted = api.post("/tasks", json={"prompts": ["One"], "webhook": {"url": url}}).json()
        shown = eventually(
            lambda: api.get(f"/batches/{accepted['batch_id']}").json()["webhook"],
            until=lambda webhook: webhook["attempts"] > 0,
            seconds=SECONDS,
        )
        assert shown["status"] == "pending"

        # WHEN its event comes to the dead-letter queue, as after twenty receives
        event = WebhookNotification(TENANT, accepted["batch_id"], url, 1, {"completed": 1})
        letters = stack.resources()["WebhookDeadLetterQueue"]
        stack.aws("sqs").send_message(QueueUrl=letters, MessageBody=event.encode())
        shown = eventually(
            lambda: api.get(f"/batches/{accepted['batch_id']}").json()["webhook"],
            until=lambda webhook: webhook["status"] == "failed",
            seconds=SECONDS,
        )

    # THEN it has failed, after as many tries as there were
    assert (shown["status"], shown["last_error"]) == ("failed", "undeliverable")
    assert shown["attempts"] > 0


def test_an_address_that_is_neither_https_nor_this_machine_is_refused(api: httpx.Client) -> None:
    answer = api.post("/tasks", json={"prompts": ["One"], "webhook": {"url": "http://hooks.example/"}})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_webhook_url")
    assert answer.json()["errors"][0]["pointer"] == "/webhook/url"
