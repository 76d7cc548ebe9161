"""Start the worker: SQS batch in, the messages that have to come back out.

llm.py speaks to the model. All else is in common/work, which the workflow worker shares: service.py shares the time of
an invocation among its messages, attempt.py is one message's way, call.py the model's part of it, queue.py brings
messages back, flow.py lets calls start as the shared limits and pauses allow, concurrency.py adapts how many run at a
time.
"""

from common import cold_start

# isort: split
import asyncio
import os
import time
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.outbox import Outbox
from common.prices import read_prices
from common.store.budget_store import BudgetStore
from common.store.connection import connect
from common.store.flow_store import FlowStore
from common.store.gathering import GatheringScripts
from common.store.scripts import read_sources
from common.store.task_store import TaskStore
from common.telemetry import Telemetry
from common.work.assembly import Assembly
from common.work.budget import BudgetGuard
from common.work.concurrency import Concurrency
from common.work.delivery import Delivery
from common.work.flow import FlowControl
from common.work.journal import WorkerJournal
from common.work.provider import SecretKey
from common.work.queue import RedeliveryQueue
from common.work.settings import WorkerSettings
from functions.worker.llm import ChatModel

SETTINGS = WorkerSettings.from_env(os.environ)
TELEMETRY = Telemetry.from_env(os.environ)
JOURNAL = WorkerJournal(TELEMETRY)

REDIS = connect(SETTINGS.redis)
STORE = TaskStore(REDIS, GatheringScripts(read_sources()), announcer=Outbox(SETTINGS.webhook_queue_url))
FLOWS = FlowStore(REDIS)
FLOW = FlowControl(FLOWS, SETTINGS.limits, BudgetGuard(BudgetStore(REDIS), now_ms=lambda: time.time_ns() // 1_000_000))
MODEL = ChatModel(
    key=SecretKey(SETTINGS.openai_api_key_secret),
    base_url=SETTINGS.openai_base_url,
    timeout_seconds=SETTINGS.model_timeout_seconds,
    on_headers=FLOW.heard,
    prices=read_prices(),
)
QUEUE = RedeliveryQueue(SETTINGS.queue_url, JOURNAL.queue_failed)
ASSEMBLY = Assembly(SETTINGS, JOURNAL, QUEUE, STORE, FLOWS)
CONCURRENCY = Concurrency(SETTINGS.concurrency_min, SETTINGS.concurrency)
WORKER = ASSEMBLY.worker(MODEL, FLOW, CONCURRENCY, SETTINGS.model_timeout_seconds)

# One loop for the environment's life: the clients above keep connections, and those belong to the loop that made them.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Work on a batch of messages; what is not reported as failed, the poller deletes."""
    deliveries = [Delivery.of(record) for record in event["Records"]]
    back = RUNNER.run(WORKER.work(deliveries, context.get_remaining_time_in_millis() / 1000))
    return {"batchItemFailures": [{"itemIdentifier": delivery.message_id} for delivery in back]}


cold_start.over()
