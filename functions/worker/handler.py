"""Start the worker: SQS batch in, the messages that have to come back out.

All of it is in common/work, which the workflow worker shares: service.py shares the time of an invocation among its
messages, attempt.py is one message's way, call.py the model's part of it, chat_model.py asks the model, queue.py brings
messages back, flow.py lets calls start as the shared limits and pauses allow, concurrency.py adapts how many run at a
time.
"""

from common import cold_start

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.telemetry import Telemetry
from common.work.assembly import Assembly
from common.work.delivery import Delivery
from common.work.settings import WorkerSettings

SETTINGS = WorkerSettings.from_env(os.environ)
TELEMETRY = Telemetry.from_env(os.environ)
PARTS = Assembly(SETTINGS, TELEMETRY)
MODEL = PARTS.chat_model
WORKER = PARTS.worker(MODEL, PARTS.flow, SETTINGS.model_timeout_seconds, PARTS.billing)

# One loop for the environment's life: the clients keep connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Work on a batch of messages; what is not reported as failed, the poller deletes."""
    deliveries = [Delivery.of(record) for record in event["Records"]]
    back = RUNNER.run(WORKER.work(deliveries, context.get_remaining_time_in_millis() / 1000))
    return {"batchItemFailures": [{"itemIdentifier": delivery.message_id} for delivery in back]}


cold_start.over()
