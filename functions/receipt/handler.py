"""Start the receipt function: what the webhook function, which has no Redis, has to tell the records."""

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

# One loop for the environment's life: the client keeps connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record what can be recorded; what is not reported as failed, the poller deletes."""
    del context
    filings = RUNNER.run(record_receipts(event["Records"], STORE))
    for filing in filings:
        note(filing)
    return {"batchItemFailures": [{"itemIdentifier": each.message_id} for each in filings if each.problem]}


def note(filing: ReceiptResult) -> None:
    """Log by its ids alone what was not filed, and what was given up, which is one to alarm on."""
    if filing.problem:
        facts = {"message_id": filing.message_id, "problem": filing.problem}
        TELEMETRY.logger.warning("receipt not filed", extra=facts)
    elif filing.given_up:
        TELEMETRY.logger.error("webhook given up", extra={"webhook_id": filing.given_up})
        TELEMETRY.count(Metric.WEBHOOKS_UNDELIVERABLE)


lambda_init.complete()
