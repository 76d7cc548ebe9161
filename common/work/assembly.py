"""Connect what every worker needs, and put the worker together; what it asks is all in which workers differ."""

import time
from random import SystemRandom

from common.outbox import Outbox
from common.prices import read_prices
from common.store.backlog_store import BacklogStore
from common.store.budget_store import BudgetStore
from common.store.connection import connect
from common.store.flow_store import FlowStore
from common.store.gathering import GatheringScripts
from common.store.scripts import read_sources
from common.store.task_store import TaskStore
from common.telemetry import Telemetry
from common.work.attempt import Attempts
from common.work.backoff import Backoff
from common.work.billing import Billing
from common.work.budget import BudgetGuard
from common.work.call import Calls, Model
from common.work.chat_model import ChatModel
from common.work.concurrency import Concurrency
from common.work.flow import FlowControl, Gate
from common.work.journal import WorkerJournal
from common.work.progress import ProgressBoard
from common.work.provider import SecretKey
from common.work.provider_client import ProviderClient
from common.work.queue import RedeliveryQueue
from common.work.service import Worker
from common.work.settings import WorkerSettings
from common.work.shares import TenantShares
from common.work.window import Pace


class Assembly:
    """Hold what a worker is made of, one for the life of the environment; nothing is sent before its first use."""

    def __init__(self, settings: WorkerSettings, telemetry: Telemetry) -> None:
        """Connect by the settings."""
        self._settings = settings
        self._journal = WorkerJournal(telemetry)
        self.redis = connect(settings.redis)
        self._store = TaskStore(
            self.redis, GatheringScripts(read_sources()), announcer=Outbox(settings.webhook_queue_url)
        )
        self._flows = FlowStore(self.redis)
        self.budget = BudgetGuard(BudgetStore(self.redis), now_ms=_now_ms)
        self.flow = FlowControl(self._flows, settings.limits, self.budget, now_ms=_now_ms)
        self.concurrency = Concurrency(settings.concurrency_min, settings.concurrency)
        client = ProviderClient(
            key=SecretKey(settings.openai_api_key_secret),
            base_url=settings.openai_base_url,
            timeout_seconds=settings.model_timeout_seconds,
            on_headers=self.flow.heard,
        )
        prices = read_prices()
        self.billing = Billing(prices)
        self.chat_model = ChatModel(client, prices)
        self.queue = RedeliveryQueue(settings.queue_url, self._journal.queue_failed)

    def worker(self, model: Model, gate: Gate, model_seconds: float, billing: Billing | None) -> Worker:
        """Make a worker that asks this model when the gate lets it; one answer may take `model_seconds`.

        `billing` charges its calls; None where the model does.
        """
        board = ProgressBoard(self._store, self._journal.fault)
        attempts = Attempts(
            claims=self._store,
            calls=Calls(model, board, self.concurrency, Pace(), model_seconds, billing),
            flow=gate,
            backoff=Backoff(SystemRandom().random),
            max_attempts=self._settings.max_attempts,
        )
        shares = TenantShares(self._flows, self._settings.limits.tenant_in_flight)
        return Worker(
            attempts,
            self.queue,
            shares,
            self._journal,
            margin_seconds=self._settings.margin_seconds,
            lease_seconds=self._settings.lease_seconds,
            backlog=BacklogStore(self.redis) if self._settings.is_queue_capped else None,
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
