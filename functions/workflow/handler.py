"""Handle SQS batches of workflow tasks: run each message, return those that the queue must redeliver.

The worker is in common/worker, as for prompts. What differs is the model: service.py runs a chain, model.py makes its
model calls, chain_run.py and step.py keep the completed ones, chain_tasks.py ends everything that a chain has started.
chains.py is the file that a team edits.
"""

from common.runtime import lambda_init

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.runtime.telemetry import Telemetry
from common.store.checkpoints import CheckpointStore
from common.worker.message import ReceivedMessage
from common.worker.semaphore import ResizableSemaphore
from common.worker.wiring import WorkerWiring
from functions.workflow.chains import WORKFLOWS
from functions.workflow.model import BudgetLimiter, Provider
from functions.workflow.service import WorkflowModel
from functions.workflow.settings import WorkflowSettings

SETTINGS = WorkflowSettings.from_env(os.environ)
TELEMETRY = Telemetry.from_env(os.environ)
PARTS = WorkerWiring(SETTINGS.worker, TELEMETRY)
STEPS = CheckpointStore(PARTS.redis)
PROVIDER = Provider(
    checkpoints=STEPS,
    flow=PARTS.flow,
    concurrency=PARTS.concurrency,
    slots=ResizableSemaphore(PARTS.concurrency),
    chat_model=PARTS.chat_model,
    billing=PARTS.billing,
    timeout_seconds=SETTINGS.worker.model_timeout_seconds,
    model=SETTINGS.default_model,
)
MODEL = WorkflowModel(WORKFLOWS, PROVIDER, STEPS)
WORKER = PARTS.worker(MODEL, BudgetLimiter(PARTS.budget, PARTS.flow), SETTINGS.chain_seconds, billing=None)

# One loop for the environment's life: the clients keep connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Work on a batch of messages; what is not reported as failed, the poller deletes."""
    deliveries = [ReceivedMessage.of(record) for record in event["Records"]]
    back = RUNNER.run(WORKER.run(deliveries, context.get_remaining_time_in_millis() / 1000))
    return {"batchItemFailures": [{"itemIdentifier": delivery.message_id} for delivery in back]}


lambda_init.complete()
