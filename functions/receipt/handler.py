"""Start the receipt function: what the webhook function, which has no Redis, has to tell the records."""

import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.settings import RedisSettings
from common.store.connection import connect
from common.store.deliveries import Deliveries
from common.store.scripts import Scripts, read_sources
from common.telemetry import Telemetry
from functions.receipt.service import file_receipts

TELEMETRY = Telemetry.from_env(os.environ)
REDIS = connect(RedisSettings.from_env(os.environ))
STORE = Deliveries(REDIS, Scripts(read_sources()))

# One loop for the environment's life: the client keeps connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record what can be recorded; what is not reported as failed, the poller deletes."""
    del context
    left = RUNNER.run(file_receipts(event["Records"], STORE))
    for message_id, problem in left.items():
        TELEMETRY.logger.warning("receipt not filed", extra={"message_id": message_id, "problem": problem})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in left]}
