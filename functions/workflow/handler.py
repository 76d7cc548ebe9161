"""Handle SQS batches of workflow tasks: run each message, return those that the queue must redeliver.

The worker is in common/worker, as for prompts. Only the model differs: service.py runs a chain, model.py makes its
model calls, chain_run.py and step.py store the completed ones, and chain_tasks.py ends all tasks of a chain. chains.py
defines the workflows.
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

# One event loop for the lifetime of the environment: the clients' connections are bound to it.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process a batch of messages. The poller deletes every message that is not reported as failed."""
    messages = [ReceivedMessage.of(record) for record in event["Records"]]
    redelivered = RUNNER.run(WORKER.run(messages, context.get_remaining_time_in_millis() / 1000))
    return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in redelivered]}


lambda_init.complete()
