"""Handle SQS batches of prompts: run each message, return those that the queue must redeliver.

The worker is in common/worker, which the workflow worker shares. runner.py divides an invocation among its messages,
attempt.py processes one message, model_call.py makes its call, rate_limiter.py and concurrency.py decide when a call
starts, redelivery.py returns messages to the queue.
"""

from common.runtime import lambda_init

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.runtime.telemetry import Telemetry
from common.worker.message import ReceivedMessage
from common.worker.settings import WorkerSettings
from common.worker.wiring import WorkerWiring

SETTINGS = WorkerSettings.from_env(os.environ)
TELEMETRY = Telemetry.from_env(os.environ)
PARTS = WorkerWiring(SETTINGS, TELEMETRY)
MODEL = PARTS.chat_model
WORKER = PARTS.worker(MODEL, PARTS.flow, SETTINGS.model_timeout_seconds, PARTS.billing)

# One loop for the environment's life: the clients keep connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Work on a batch of messages; what is not reported as failed, the poller deletes."""
    deliveries = [ReceivedMessage.of(record) for record in event["Records"]]
    back = RUNNER.run(WORKER.run(deliveries, context.get_remaining_time_in_millis() / 1000))
    return {"batchItemFailures": [{"itemIdentifier": delivery.message_id} for delivery in back]}


lambda_init.complete()
