"""Start the workflow worker: SQS batch in, the messages that have to come back out.

It works as the worker does, by what stands in common/work; but what it asks is a chain. service.py runs it, model.py
makes its calls, run.py and step.py know which of them are done, branches.py leaves none behind. chains.py is what a
team writes.
"""

from common import cold_start

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.store.step_store import StepStore
from common.telemetry import Telemetry
from common.work.assembly import Assembly
from common.work.delivery import Delivery
from common.work.slots import Slots
from functions.workflow.chains import WORKFLOWS
from functions.workflow.model import OpenGate, Provider
from functions.workflow.service import Chains
from functions.workflow.settings import WorkflowSettings

SETTINGS = WorkflowSettings.from_env(os.environ)
TELEMETRY = Telemetry.from_env(os.environ)
PARTS = Assembly(SETTINGS.worker, TELEMETRY)
STEPS = StepStore(PARTS.redis)
PROVIDER = Provider(
    checkpoints=STEPS,
    flow=PARTS.flow,
    concurrency=PARTS.concurrency,
    slots=Slots(PARTS.concurrency),
    chat_model=PARTS.chat_model,
    billing=PARTS.billing,
    timeout_seconds=SETTINGS.worker.model_timeout_seconds,
    model=SETTINGS.default_model,
)
MODEL = Chains(WORKFLOWS, PROVIDER, STEPS)
WORKER = PARTS.worker(MODEL, OpenGate(PARTS.budget, PARTS.flow), SETTINGS.chain_seconds, billing=None)

# One loop for the environment's life: the clients keep connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Work on a batch of messages; what is not reported as failed, the poller deletes."""
    deliveries = [Delivery.of(record) for record in event["Records"]]
    back = RUNNER.run(WORKER.work(deliveries, context.get_remaining_time_in_millis() / 1000))
    return {"batchItemFailures": [{"itemIdentifier": delivery.message_id} for delivery in back]}


cold_start.over()
