"""Put a worker together of what its handler has connected; what it asks is all in which workers differ."""

from dataclasses import dataclass
from random import SystemRandom

from common.store.flow_store import FlowStore
from common.store.task_store import TaskStore
from common.work.attempt import Attempts
from common.work.backoff import Backoff
from common.work.call import Calls, Model
from common.work.concurrency import Concurrency
from common.work.flow import Gate
from common.work.journal import WorkerJournal
from common.work.progress import ProgressBoard
from common.work.queue import RedeliveryQueue
from common.work.service import Worker
from common.work.settings import WorkerSettings
from common.work.shares import TenantShares
from common.work.window import Pace


@dataclass(frozen=True, slots=True)
class Assembly:
    """Hold what a handler has connected, and make its worker of it, once for each environment."""

    settings: WorkerSettings
    journal: WorkerJournal
    queue: RedeliveryQueue
    store: TaskStore
    flows: FlowStore

    def worker(self, model: Model, gate: Gate, concurrency: Concurrency, model_seconds: float) -> Worker:
        """Make a worker that asks this model, of which one answer may take `model_seconds`."""
        board = ProgressBoard(self.store, self.journal.fault)
        attempts = Attempts(
            claims=self.store,
            calls=Calls(model, board, concurrency, Pace(), model_seconds),
            flow=gate,
            backoff=Backoff(SystemRandom().random),
            max_attempts=self.settings.max_attempts,
        )
        shares = TenantShares(self.flows, self.settings.limits.tenant_in_flight)
        return Worker(attempts, self.queue, shares, self.journal, margin_seconds=self.settings.margin_seconds)
