"""Start the receipt function: what the webhook function, which has no Redis, has to tell the records."""

from common import cold_start

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.metrics import Metric
from common.settings import RedisSettings
from common.store.connection import connect
from common.store.deliveries import Deliveries
from common.store.scripts import Scripts, read_sources
from common.telemetry import Telemetry
from functions.receipt.service import Filing, file_receipts

TELEMETRY = Telemetry.from_env(os.environ)
REDIS = connect(RedisSettings.from_env(os.environ))
STORE = Deliveries(REDIS, Scripts(read_sources()))

# One loop for the environment's life: the client keeps connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record what can be recorded; what is not reported as failed, the poller deletes."""
    del context
    filings = RUNNER.run(file_receipts(event["Records"], STORE))
    for filing in filings:
        note(filing)
    return {"batchItemFailures": [{"itemIdentifier": each.message_id} for each in filings if each.problem]}


def note(filing: Filing) -> None:
    """Log by its ids alone what was not filed, and what was given up, which is one to alarm on."""
    if filing.problem:
        facts = {"message_id": filing.message_id, "problem": filing.problem}
        TELEMETRY.logger.warning("receipt not filed", extra=facts)
    elif filing.given_up:
        TELEMETRY.logger.error("webhook given up", extra={"webhook_id": filing.given_up})
        TELEMETRY.count(Metric.WEBHOOKS_UNDELIVERABLE)


cold_start.over()
