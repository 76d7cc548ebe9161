"""Connect what every worker needs, and put the worker together; what it asks is all in which workers differ."""

import time
from random import SystemRandom

from common.domain.prices import read_prices
from common.runtime.telemetry import Telemetry
from common.store.backlog import BacklogStore
from common.store.budgets import BudgetStore
from common.store.client import connect
from common.store.rate_limits import RateLimitStore
from common.store.script_batching import BatchingScripts
from common.store.scripts import read_sources
from common.store.tasks import TaskStore
from common.webhooks.publisher import WebhookPublisher
from common.worker.attempt import AttemptRunner
from common.worker.backoff import Backoff
from common.worker.billing import Billing
from common.worker.budget_guard import BudgetGuard
from common.worker.concurrency import AdaptiveConcurrency
from common.worker.deadlines import CallDurationEstimator
from common.worker.model_call import Model, ModelCaller
from common.worker.progress import ProgressReporter
from common.worker.provider import ProviderKey
from common.worker.provider_client import ProviderClient
from common.worker.provider_model import ProviderModel
from common.worker.rate_limiter import RateLimiter, StartLimiter
from common.worker.redelivery import RedeliveryQueue
from common.worker.runner import BatchRunner
from common.worker.settings import WorkerSettings
from common.worker.telemetry import WorkerTelemetry
from common.worker.tenant_concurrency import TenantConcurrency


class WorkerWiring:
    """Hold what a worker is made of, one for the life of the environment; nothing is sent before its first use."""

    def __init__(self, settings: WorkerSettings, telemetry: Telemetry) -> None:
        """Connect by the settings."""
        self._settings = settings
        self._journal = WorkerTelemetry(telemetry)
        self.redis = connect(settings.redis)
        self._store = TaskStore(
            self.redis, BatchingScripts(read_sources()), announcer=WebhookPublisher(settings.webhook_queue_url)
        )
        self._flows = RateLimitStore(self.redis)
        self.budget = BudgetGuard(BudgetStore(self.redis), now_ms=_now_ms)
        self.flow = RateLimiter(self._flows, settings.limits, self.budget, now_ms=_now_ms)
        self.concurrency = AdaptiveConcurrency(settings.concurrency_min, settings.concurrency)
        client = ProviderClient(
            key=ProviderKey(settings.openai_api_key_secret),
            base_url=settings.openai_base_url,
            timeout_seconds=settings.model_timeout_seconds,
            on_headers=self.flow.record_headers,
        )
        prices = read_prices()
        self.billing = Billing(prices)
        self.chat_model = ProviderModel(client, prices)
        self.queue = RedeliveryQueue(settings.queue_url, self._journal.record_redelivery_failure)

    def worker(self, model: Model, limiter: StartLimiter, model_seconds: float, billing: Billing | None) -> BatchRunner:
        """Make a worker that calls this model when the limiter allows it; one answer may take `model_seconds`.

        `billing` charges its calls; None where the model does.
        """
        board = ProgressReporter(self._store, self._journal.record_unexpected_error)
        attempts = AttemptRunner(
            claims=self._store,
            calls=ModelCaller(model, board, self.concurrency, CallDurationEstimator(), model_seconds, billing),
            flow=limiter,
            backoff=Backoff(SystemRandom().random),
            max_attempts=self._settings.max_attempts,
        )
        shares = TenantConcurrency(self._flows, self._settings.limits.tenant_in_flight)
        return BatchRunner(
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
