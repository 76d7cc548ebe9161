"""Start the webhook function: events in, those that have to come back out. It has no Redis, and is far from it."""

from common import cold_start

# isort: split
import asyncio
import os
import time
from random import SystemRandom
from typing import Any

import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.typing import LambdaContext

from common.metrics import Metric
from common.telemetry import Telemetry
from functions.webhook.dialler import Dialler
from functions.webhook.queue import CLIENT, Queues
from functions.webhook.resolver import Resolver
from functions.webhook.schedule import Schedule
from functions.webhook.service import Courier, Event, Outcome
from functions.webhook.settings import WebhookSettings
from functions.webhook.signing import Signer

SETTINGS = WebhookSettings.from_env(os.environ)
TELEMETRY = Telemetry.from_env(os.environ)
COURIER = Courier(
    Signer(SecretsProvider(), SETTINGS.secret),
    Dialler(allow_loopback=SETTINGS.allow_loopback, resolve=Resolver().resolve),
    Schedule(SystemRandom().random),
    now_ms=lambda: time.time_ns() // 1_000_000,
    allow_loopback=SETTINGS.allow_loopback,
)


def queue_failed(code: str) -> None:
    """Note that an event comes back when the queue likes, or that a try has left no receipt."""
    TELEMETRY.logger.warning("queue failed", extra={"error": code})
    TELEMETRY.count(Metric.QUEUE_FAILURES)


QUEUES = Queues(
    boto3.client("sqs", config=CLIENT), SETTINGS.webhook_queue_url, SETTINGS.receipt_queue_url, queue_failed
)
RUNNER = asyncio.Runner()  # one loop for the environment's life


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Try each event once; what is not reported as failed, the poller deletes."""
    del context
    outcomes = RUNNER.run(deliver([Event.of(record) for record in event["Records"]]))
    for outcome in outcomes:
        note(outcome)
    return {"batchItemFailures": [{"itemIdentifier": each.event.message_id} for each in outcomes if not each.is_done]}


async def deliver(events: list[Event]) -> list[Outcome]:
    """Make a try for each, all at once."""
    return await asyncio.gather(*map(deliver_one, events))


async def deliver_one(event: Event) -> Outcome:
    """Make a try and settle it at once: its neighbours' receivers may be slow."""
    outcome = await COURIER.deliver(event)
    await QUEUES.settle(outcome)
    return outcome


def note(outcome: Outcome) -> None:
    """Log a try by its ids alone, without the address, and count how it ended."""
    facts = {"webhook_id": outcome.webhook_id, "message_id": outcome.event.message_id, "problem": outcome.problem}
    delivery = outcome.receipt.delivery if outcome.receipt else None
    if delivery is None:
        TELEMETRY.logger.error("webhook not tried", extra=facts)
        TELEMETRY.count(Metric.WEBHOOKS_UNTRIED)
        return
    made = {"attempt": delivery.attempts, "code": delivery.code, "status_code": delivery.status_code}
    TELEMETRY.logger.info("webhook tried", extra={**facts, **made, "status": delivery.status})
    TELEMETRY.count(Metric(f"Webhooks{delivery.status.title()}"), code=delivery.code)


cold_start.over()
