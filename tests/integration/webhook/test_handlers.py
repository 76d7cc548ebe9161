"""Test both webhook handlers with a queue, a receiver and a Valkey: from an event to the state in the batch."""

import io
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from standardwebhooks import Webhook as Standard

from common.domain.errors import QueueUnavailable, SettingError
from common.domain.task import NewBatch, TaskSpec, new_batch_id
from common.runtime.settings import RedisSettings
from common.store import TaskStore
from common.webhooks.events import DeliveryReceipt, WebhookNotification
from common.webhooks.model import Webhook, WebhookDelivery, WebhookDeliveryCode, WebhookDeliveryStatus
from common.webhooks.publisher import WebhookPublisher
from functions.webhook.signing_keys import key_of
from tests.aws import aws, aws_variables, received
from tests.invocation import Context, running_with_redis, started
from tests.receiver import HOST, Receiver, receiving
from tests.valkey import redis_variables, valkey

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["aws", "valkey"]

TEXT = "signed-with-" * 4
CONTEXT = Context("webhook")


@pytest.fixture
def settings(aws: str, valkey: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        **aws_variables(aws),
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "POWERTOOLS_SERVICE_NAME": f"webhook-{secrets.token_hex(4)}",
        **redis_variables(valkey),
        "WEBHOOK_SECRET": uuid4().hex,
        "WEBHOOK_LOOPBACK": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def sqs(settings: pytest.MonkeyPatch) -> "Iterator[SQSClient]":
    client = boto3.client("sqs")
    for name in ("WEBHOOK_QUEUE_URL", "RECEIPT_QUEUE_URL"):
        settings.setenv(name, client.create_queue(QueueName=uuid4().hex)["QueueUrl"])
    yield client
    client.close()


@pytest.fixture
def webhook(sqs: "SQSClient", settings: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    del sqs, settings
    import os  # noqa: PLC0415  # what the fixtures have set

    manager = boto3.client("secretsmanager")
    manager.create_secret(Name=os.environ["WEBHOOK_SECRET"], SecretString=TEXT)
    manager.close()
    module = started("webhook")
    yield module
    module.RUNNER.close()


@pytest.fixture
def receipt(settings: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    del settings
    with running_with_redis("receipt") as module:
        yield module


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_an_event_is_tried_until_it_is_taken_and_its_batch_shows_how_far_it_got(
    webhook: ModuleType,
    receipt: ModuleType,
    sqs: "SQSClient",
    receiver: Receiver,
) -> None:
    log = io.StringIO()
    webhook.TELEMETRY.logger.registered_handler.setStream(log)
    # GIVEN a batch with a receiver that fails first, and its event on the queue
    store, run = TaskStore(receipt.REDIS), receipt.RUNNER.run
    batch_id = new_batch_id(1, secrets.token_bytes(16))
    url = f"http://{HOST}:{receiver.port}/hook?token=mine"
    run(store.create(NewBatch("acme", batch_id, (TaskSpec("m"),), 60_000, 3_600_000, webhook=Webhook(url))))
    queue_url, receipt_url = webhook.SETTINGS.webhook_queue_url, webhook.SETTINGS.receipt_queue_url
    run(WebhookPublisher(queue_url, sqs).publish(WebhookNotification("acme", batch_id, url, 1, {"completed": 1})))
    receiver.statuses = [503, 200]

    def state() -> WebhookDelivery:
        filed = received(sqs, receipt_url)
        assert receipt.lambda_handler(filed, CONTEXT) == {"batchItemFailures": []}
        record = run(store.read_batch("acme", batch_id))
        assert record is not None
        delivery: WebhookDelivery = record.delivery
        return delivery

    # WHEN it is tried, THEN it comes back and the batch says why
    event = received(sqs, queue_url)
    [record] = event["Records"]
    assert webhook.lambda_handler(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
    first = state()
    assert (first.status, first.attempts, first.status_code) == (WebhookDeliveryStatus.PENDING, 1, 503)
    assert first.code is WebhookDeliveryCode.REFUSED
    assert first.next_attempt_ms is not None
    # five seconds, more or less: the queue hides it for as long, and no longer
    assert received(sqs, queue_url)["Records"] == []
    sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0)

    # AND when it is tried again, it is delivered
    again = received(sqs, queue_url)
    assert webhook.lambda_handler(again, CONTEXT) == {"batchItemFailures": []}
    second = state()
    assert (second.status, second.attempts, second.status_code) == (WebhookDeliveryStatus.DELIVERED, 2, 200)
    bodies = {each.body for each in receiver.received}
    assert len(bodies) == 1
    for each in receiver.received:
        assert Standard(key_of(TEXT, "acme")).verify(each.body, each.headers)["data"]["batch_id"] == batch_id

    # AND neither address nor key is in any log
    said = log.getvalue()
    assert f"{batch_id}.completed" in said
    assert not [word for word in ("token", "mine", TEXT, key_of(TEXT, "acme"), HOST) if word in said]


def test_an_event_that_its_queue_gives_up_is_shown_as_failed_by_its_batch(
    webhook: ModuleType,
    receipt: ModuleType,
    sqs: "SQSClient",
    receiver: Receiver,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = io.StringIO()
    receipt.TELEMETRY.logger.registered_handler.setStream(log)
    # GIVEN a queue of events with a dead-letter queue, and an event that was tried once
    dead_letters = sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    queue_url, receipt_url = webhook.SETTINGS.webhook_queue_url, webhook.SETTINGS.receipt_queue_url
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": redrive})
    store, run = TaskStore(receipt.REDIS), receipt.RUNNER.run
    batch_id = new_batch_id(3, secrets.token_bytes(16))
    url = f"http://{HOST}:{receiver.port}/?token=mine"
    run(store.create(NewBatch("acme", batch_id, (TaskSpec("m"),), 60_000, 3_600_000, webhook=Webhook(url))))
    run(WebhookPublisher(queue_url, sqs).publish(WebhookNotification("acme", batch_id, url, 1, {"completed": 1})))
    receiver.statuses = [503]
    event = received(sqs, queue_url)
    webhook.lambda_handler(event, CONTEXT)
    receipt.lambda_handler(received(sqs, receipt_url), CONTEXT)
    handle = event["Records"][0]["receiptHandle"]
    sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)

    # WHEN nobody can try it any more, and its queue hands it over
    while received(sqs, queue_url)["Records"]:
        pass
    letters = received(sqs, dead_letters)
    assert len(letters["Records"]) == 1
    assert receipt.lambda_handler(letters, CONTEXT) == {"batchItemFailures": []}

    # THEN the batch says so, the try stays counted, and an alarm has something to see
    record = run(store.read_batch("acme", batch_id))
    assert record is not None
    assert record.delivery == WebhookDelivery(WebhookDeliveryStatus.FAILED, 1, None, WebhookDeliveryCode.UNDELIVERABLE)
    assert '"WebhooksUndeliverable"' in capsys.readouterr().out
    said = log.getvalue()
    assert f"{batch_id}.completed" in said
    assert "token" not in said


def test_names_of_one_tenant_that_never_resolve_leave_anothers_delivery_and_receipt_alone(
    webhook: ModuleType, sqs: "SQSClient", receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN more names than a pool has threads, which the system does not give up on, and a receiver of another tenant
    given_up, resolve = threading.Event(), socket.getaddrinfo

    def hang(host: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # as the system's
        if host.startswith("hang"):
            given_up.wait(30)
            raise socket.gaierror
        return resolve(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    queue_url, receipt_url = webhook.SETTINGS.webhook_queue_url, webhook.SETTINGS.receipt_queue_url
    batch_id = new_batch_id(4, secrets.token_bytes(16))
    addresses = [("rival", f"https://hang-{number}.example/") for number in range(40)]
    addresses.append(("acme", f"http://localhost:{receiver.port}/"))
    for tenant, url in addresses:
        WebhookPublisher(queue_url, sqs)._send(WebhookNotification(tenant, batch_id, url, 1, {"completed": 1}))
    records: list[Any] = []
    while len(records) < len(addresses):
        records += received(sqs, queue_url)["Records"]
    answers: list[dict[str, Any]] = []
    invocation = threading.Thread(target=lambda: answers.append(webhook.lambda_handler({"Records": records}, CONTEXT)))

    # WHEN one invocation has them all
    invocation.start()
    try:
        # THEN the other tenant's receipt is there while the names hang
        [filed] = sqs.receive_message(
            QueueUrl=receipt_url, MessageSystemAttributeNames=["MessageGroupId"], WaitTimeSeconds=20
        )["Messages"]
        assert filed["Attributes"]["MessageGroupId"] == "acme"
        receipt = DeliveryReceipt.decode(filed["Body"])
        assert (receipt.tenant, receipt.delivery.status) == ("acme", WebhookDeliveryStatus.DELIVERED)
        assert not given_up.is_set()
    finally:
        given_up.set()
        invocation.join()

    # AND the others come back
    assert len(answers[0]["batchItemFailures"]) == 40
    assert len(receiver.received) == 1


def test_what_is_no_event_and_no_receipt_stays_on_its_queue(webhook: ModuleType, receipt: ModuleType) -> None:
    odd = {
        "messageId": "odd",
        "receiptHandle": "handle",
        "body": "no json",
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1"},
    }
    left = {"batchItemFailures": [{"itemIdentifier": "odd"}]}

    assert webhook.lambda_handler({"Records": [odd]}, CONTEXT) == left
    assert receipt.lambda_handler({"Records": [odd]}, CONTEXT) == left


def test_without_redis_receipts_stay_on_their_queue(
    settings: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    settings.setenv("REDIS_PORT", "1")
    handler: ModuleType = request.getfixturevalue("receipt")
    body = DeliveryReceipt("acme", new_batch_id(1, bytes(16)), WebhookDelivery()).encode()

    answer = handler.lambda_handler({"Records": [{"messageId": "one", "body": body}]}, CONTEXT)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "one"}]}


def test_without_a_queue_to_speak_to_the_try_counts_all_the_same(
    webhook: ModuleType, sqs: "SQSClient", receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = new_batch_id(2, secrets.token_bytes(16))
    url = f"http://{HOST}:{receiver.port}/"
    announcement = WebhookNotification("acme", batch_id, url, 1, {"completed": 1})
    sqs.send_message(QueueUrl=webhook.SETTINGS.webhook_queue_url, MessageBody=announcement.encode())
    event = received(sqs, webhook.SETTINGS.webhook_queue_url)
    sqs.delete_queue(QueueUrl=webhook.SETTINGS.receipt_queue_url)

    assert webhook.lambda_handler(event, CONTEXT) == {"batchItemFailures": []}
    assert '"QueueFailures"' in capsys.readouterr().out


@pytest.mark.parametrize("name", ["WEBHOOK_QUEUE_URL", "RECEIPT_QUEUE_URL", "WEBHOOK_SECRET", "WEBHOOK_LOOPBACK"])
def test_a_setting_that_is_missing_or_wrong_stops_the_start_with_its_name(
    sqs: "SQSClient", settings: pytest.MonkeyPatch, name: str
) -> None:
    del sqs
    settings.setenv(name, "perhaps" if name == "WEBHOOK_LOOPBACK" else "")

    with pytest.raises(SettingError) as caught:
        started("webhook")

    assert caught.value.name == name


async def test_an_event_that_its_queue_does_not_take_is_told_without_its_address(sqs: "SQSClient") -> None:
    url = "https://hooks.example/?token=t"
    announcement = WebhookNotification("acme", new_batch_id(1, bytes(16)), url, 1, {"completed": 1})

    with pytest.raises(QueueUnavailable) as caught:
        await WebhookPublisher("http://127.0.0.1:9/nowhere", sqs).publish(announcement)

    assert "token" not in repr(caught.value)
    assert json.loads(announcement.encode())["url"] == url
