"""Connect the submission service to Redis and SQS."""

import time
from typing import TYPE_CHECKING

from common.domain.backlog import BacklogQueue
from common.runtime.telemetry import Telemetry
from common.store import TaskStore
from common.store.backlog import BacklogStore
from common.store.budgets import BudgetStore
from common.store.client import Client
from common.submission.admission import Admission
from common.submission.queue import SqsTaskQueue
from common.submission.queue_cap import QueueCap
from common.submission.queue_depth import QueueDepth
from common.submission.service import SubmissionRouter, SubmissionService
from common.submission.settings import SubmissionSettings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def submission_router(
    settings: SubmissionSettings, redis: Client, sqs: "SQSClient", store: TaskStore, telemetry: Telemetry
) -> SubmissionRouter:
    """Create one submission service for each queue that the settings have, and the router between them."""
    budgets = BudgetStore(redis)
    backlog = BacklogStore(redis)

    def service(queue: BacklogQueue, url: str) -> SubmissionService:
        depth = QueueDepth(sqs, url, clock=time.monotonic) if settings.most_queued else None
        cap = QueueCap(queue, depth, backlog, most=settings.most_queued, share=settings.queue_share) if depth else None
        return SubmissionService(
            store,
            SqsTaskQueue(sqs, url, on_sent=depth.sent if depth else None),
            Admission(budgets, cap, now_ms=now_ms),
            count=telemetry.count,
            warn=telemetry.logger.warning,
            step=telemetry.step,
        )

    urls = {BacklogQueue.TASKS: settings.queue_url, BacklogQueue.WORKFLOWS: settings.workflow_queue_url}
    return SubmissionRouter({queue: service(queue, url) for queue, url in urls.items() if url is not None})
