"""Handle SQS events of delivery receipts: record what the webhook function, which has no Redis access, reports."""

from common.runtime import lambda_init

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.runtime.metrics import Metric
from common.runtime.settings import RedisSettings
from common.runtime.telemetry import Telemetry
from common.store.client import connect
from common.store.scripts import Scripts, read_sources
from common.store.webhook_deliveries import WebhookDeliveryStore
from functions.receipt.service import ReceiptResult, record_receipts

TELEMETRY = Telemetry.from_env(os.environ)
REDIS = connect(RedisSettings.from_env(os.environ))
STORE = WebhookDeliveryStore(REDIS, Scripts(read_sources()))

# One event loop for the lifetime of the environment: the client's connections are bound to it.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record each receipt. The poller deletes every message that is not reported as failed."""
    del context
    results = RUNNER.run(record_receipts(event["Records"], STORE))
    for result in results:
        note(result)
    return {"batchItemFailures": [{"itemIdentifier": each.message_id} for each in results if each.problem]}


def note(result: ReceiptResult) -> None:
    """Log a receipt that was not recorded or an event that was abandoned, with ids only; an alarm counts the latter."""
    if result.problem:
        facts = {"message_id": result.message_id, "problem": result.problem}
        TELEMETRY.logger.warning("receipt not filed", extra=facts)
    elif result.given_up:
        TELEMETRY.logger.error("webhook given up", extra={"webhook_id": result.given_up})
        TELEMETRY.count(Metric.WEBHOOKS_UNDELIVERABLE)


lambda_init.complete()
