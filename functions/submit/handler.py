"""POST /tasks, /workflows/{name}, /batches/{batch_id}/retry: validate, record as queued, put on a queue, answer 202."""

from common.runtime import lambda_init

# isort: split
import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import Response

from common.api.http import answer, caller_of, resolver
from common.api.long_poll import LongPoll, WaitOutcome, WaitPreference, read_wait_preference
from common.api.serializers import ENDED
from common.domain.backlog import BacklogQueue
from common.domain.errors import StoreUnavailable
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry
from common.store import TaskNotifications, TaskStore, connect
from common.store.backlog import BacklogStore
from common.store.budgets import BudgetStore
from common.store.held_calls import HeldCallStore
from common.submission.admission import Admission
from common.submission.idempotency import read_key, read_repeatable
from common.submission.json_body import read_body
from common.submission.queue import CLIENT, SqsTaskQueue
from common.submission.queue_cap import QueueCap
from common.submission.queue_depth import QueueDepth
from common.submission.service import Accepted, SubmissionRouter, SubmissionService, SubmitCall
from common.webhooks.publisher import WebhookPublisher
from functions.submit.call import read_call
from functions.submit.held_response import in_full
from functions.submit.retry import RetryRequest, RetryService
from functions.submit.schema import AcceptedBody, RetriedBody
from functions.submit.settings import SubmitSettings
from functions.submit.workflows import WorkflowCatalogue

RETRY_AFTER_SECONDS = 1  # the soonest that asking for the tasks makes sense


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


settings = SubmitSettings.from_env(os.environ)
telemetry = Telemetry.from_env(os.environ)
redis = connect(settings.redis)
sqs = boto3.client("sqs", config=CLIENT)
store = TaskStore(redis, announcer=WebhookPublisher(settings.webhook_queue_url))
waiting = LongPoll(store, TaskNotifications(redis), HeldCallStore(redis, settings.holds))


def submission_to(queue: BacklogQueue, url: str) -> SubmissionService:
    """Make what accepts calls whose tasks go to this queue."""
    depth = QueueDepth(sqs, url, clock=time.monotonic) if settings.most_queued else None
    cap = QueueCap(queue, depth, backlog, most=settings.most_queued, share=settings.queue_share) if depth else None
    return SubmissionService(
        store,
        SqsTaskQueue(sqs, url, on_sent=depth.sent if depth else None),
        Admission(budgets, cap, now_ms=now_ms),
        warn=telemetry.logger.warning,
        step=telemetry.step,
    )


budgets = BudgetStore(redis)
workflows = WorkflowCatalogue.from_file()
backlog = BacklogStore(redis)
queue_urls = {BacklogQueue.TASKS: settings.queue_url, BacklogQueue.WORKFLOWS: settings.workflow_queue_url}
submissions = SubmissionRouter({queue: submission_to(queue, url) for queue, url in queue_urls.items()})
retries = RetryService(store, submissions, now_ms=now_ms)
app = resolver(telemetry)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


def allowed_to(models: Sequence[str] | None) -> frozenset[str]:
    """Return the models and workflows that a caller may ask, whose key names these; None where it may all."""
    there_are = frozenset((*settings.limits.models, *workflows.models))
    return there_are if models is None else there_are & frozenset(models)


@app.post("/tasks")
async def submit() -> Response[str]:
    """Accept one call of prompts."""
    return await _accept(lambda document, models: read_call(document, settings.limits.narrowed(models)))


@app.post("/workflows/<name>")
async def start(name: str) -> Response[str]:
    """Accept one call of a workflow."""
    read = partial(workflows.read, name, limits=settings.limits)
    return await _accept(lambda document, models: read(document=document, models=models), workflow=name)


@app.get("/workflows")
async def list_workflows() -> Response[str]:
    """Show the workflows that the caller may start."""
    return answer(200, json.dumps({"workflows": workflows.shown(caller_of(app.current_event).models)}))


async def _accept(
    read: Callable[[object, Sequence[str] | None], SubmitCall], *, workflow: str | None = None
) -> Response[str]:
    """Accept a call, as `read` makes it of the body and the models that the caller's key may ask."""
    started = asyncio.get_running_loop().time()
    event = app.current_event
    wish = read_wait_preference(event.headers.get("Prefer"), event.resolved_query_string_parameters)
    caller = caller_of(event)
    document = read_body(event.body, is_base64=bool(event.is_base64_encoded))
    call = read(document, caller.models)
    # The same inputs for another workflow are another request.
    asked = document if workflow is None else [workflow, document]
    repeatable = read_repeatable(event.headers.get("Idempotency-Key"), asked)
    accepted = await submissions.of(call.prompts).accept(caller.tenant, call, repeatable, caller.budgets)
    if not accepted.replayed:
        telemetry.count(Metric.SUBMITTED, len(call.prompts))
    root = "" if workflow is None else "../"
    body = AcceptedBody.of(accepted, call.prompts, root)
    headers = _headers(accepted, body.links)
    if wish.seconds:
        spent = asyncio.get_running_loop().time() - started
        if (held := await _held(accepted, body, wish, spent, root)) is not None:
            headers |= wish.headers
            return answer(*held, headers=headers, retry_after=None if held[0] == 200 else RETRY_AFTER_SECONDS)  # noqa: PLR2004  # as it is read
    return answer(202, body.encode(), headers=headers, retry_after=RETRY_AFTER_SECONDS)


@app.post("/batches/<batch_id>/retry")
async def retry(batch_id: str) -> Response[str]:
    """Make new tasks of the failed ones of a batch."""
    event = app.current_event
    key = read_key(event.headers.get("Idempotency-Key"))
    caller = caller_of(event)
    asked = RetryRequest(caller.tenant, batch_id, allowed_to(caller.models), caller.budgets)
    retried = await retries.retry(asked, key)
    if not retried.accepted.replayed:
        telemetry.count(Metric.SUBMITTED, len(retried.accepted.refs))
    body = RetriedBody.of(retried)
    headers = _headers(retried.accepted, body.links)
    return answer(202, body.encode(), headers=headers, retry_after=RETRY_AFTER_SECONDS)


def _headers(accepted: Accepted, links: dict[str, str]) -> dict[str, str]:
    replayed = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    return {"Location": links["batch"], **replayed}


async def _held(
    accepted: Accepted, body: AcceptedBody, wish: WaitPreference, spent_seconds: float, root: str
) -> tuple[int, str] | None:
    """Wait for the tasks, and show what has become of them; None where Redis does not say, or nothing may wait."""
    try:
        outcome = await waiting.wait(accepted.refs, wish, spent_seconds=spent_seconds)
        if outcome is WaitOutcome.NOT_HELD:
            telemetry.count(Metric.UNHELD)
            return None
        shown = await in_full(store, body, accepted.refs, root)
    except StoreUnavailable:
        return None  # accepted it is: a 503 would be sent again
    return (200 if shown["status"] == ENDED else 202), json.dumps(shown)


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))


lambda_init.complete()
