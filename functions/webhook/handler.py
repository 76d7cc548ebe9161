"""Handle SQS events of webhook notifications; return those to redeliver. No Redis access; runs outside the VPC."""

from common.runtime import lambda_init

# isort: split
import asyncio
import os
import time
from random import SystemRandom
from typing import Any

import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.typing import LambdaContext

from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry
from common.webhooks.model import WebhookDeliveryStatus
from functions.webhook.http_client import SafeHttpClient
from functions.webhook.queue import CLIENT, WebhookQueues
from functions.webhook.resolver import Resolver
from functions.webhook.retry_schedule import RetrySchedule
from functions.webhook.service import EventOutcome, ReceivedEvent, WebhookSender
from functions.webhook.settings import WebhookSettings
from functions.webhook.signing import Signer

SETTINGS = WebhookSettings.from_env(os.environ)
METRICS = {
    WebhookDeliveryStatus.DELIVERED: Metric.WEBHOOKS_DELIVERED,
    WebhookDeliveryStatus.PENDING: Metric.WEBHOOKS_PENDING,
    WebhookDeliveryStatus.FAILED: Metric.WEBHOOKS_FAILED,
}

TELEMETRY = Telemetry.from_env(os.environ)
WEBHOOK_SENDER = WebhookSender(
    Signer(SecretsProvider(), SETTINGS.secret),
    SafeHttpClient(allow_loopback=SETTINGS.allow_loopback, resolve=Resolver().resolve),
    RetrySchedule(SystemRandom().random),
    now_ms=lambda: time.time_ns() // 1_000_000,
    allow_loopback=SETTINGS.allow_loopback,
)


def queue_failed(code: str) -> None:
    """Log and count an SQS error: a redelivery without the scheduled delay, or a lost receipt."""
    TELEMETRY.logger.warning("queue failed", extra={"error": code})
    TELEMETRY.count(Metric.QUEUE_FAILURES)


QUEUES = WebhookQueues(
    boto3.client("sqs", config=CLIENT), SETTINGS.webhook_queue_url, SETTINGS.receipt_queue_url, queue_failed
)
RUNNER = asyncio.Runner()  # one loop for the environment's life


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Try each event once. The poller deletes every message that is not reported as failed."""
    del context
    outcomes = RUNNER.run(deliver([ReceivedEvent.of(record) for record in event["Records"]]))
    for outcome in outcomes:
        note(outcome)
    return {"batchItemFailures": [{"itemIdentifier": each.event.message_id} for each in outcomes if not each.is_done]}


async def deliver(events: list[ReceivedEvent]) -> list[EventOutcome]:
    """Try all events concurrently."""
    return await asyncio.gather(*map(deliver_one, events))


async def deliver_one(event: ReceivedEvent) -> EventOutcome:
    """Try an event and settle its message at once, because the receivers of other events may be slow."""
    outcome = await WEBHOOK_SENDER.deliver(event)
    await QUEUES.finish(outcome)
    return outcome


def note(outcome: EventOutcome) -> None:
    """Log a try with its ids, without the address, and count its outcome."""
    facts = {"webhook_id": outcome.webhook_id, "message_id": outcome.event.message_id, "problem": outcome.problem}
    delivery = outcome.receipt.delivery if outcome.receipt else None
    if delivery is None:
        TELEMETRY.logger.error("webhook not tried", extra=facts)
        TELEMETRY.count(Metric.WEBHOOKS_UNTRIED)
        return
    made = {"attempt": delivery.attempts, "code": delivery.code, "status_code": delivery.status_code}
    TELEMETRY.logger.info("webhook tried", extra={**facts, **made, "status": delivery.status})
    TELEMETRY.count(METRICS[delivery.status], code=delivery.code)


lambda_init.complete()
