"""POST /tasks, /workflows/{name}, /batches/{batch_id}/retry; GET /workflows: wire the services, and route to them."""

from common.runtime import lambda_init

# isort: split
import asyncio
import json
import os
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import Response

from common.api.http import answer, caller_of, resolver
from common.api.long_poll import LongPoll, read_wait_preference
from common.runtime.telemetry import Telemetry
from common.store import TaskNotifications, TaskStore, connect
from common.store.held_calls import HeldCallStore
from common.submission.held_call import HeldCallService
from common.submission.idempotency import read_key
from common.submission.queue import CLIENT
from common.submission.settings import SubmissionSettings
from common.submission.wiring import now_ms, submission_router
from common.webhooks.publisher import WebhookPublisher
from functions.submit.responses import SubmitResponse, retried_response
from functions.submit.retry import RetryRequest, RetryService
from functions.submit.service import SubmitRequest, SubmitService
from functions.submit.workflows import WorkflowCatalogue

settings = SubmissionSettings.from_env(os.environ)
telemetry = Telemetry.from_env(os.environ)
redis = connect(settings.redis)
sqs = boto3.client("sqs", config=CLIENT)
store = TaskStore(redis, announcer=WebhookPublisher(settings.webhook_queue_url))
long_poll = LongPoll(store, TaskNotifications(redis), HeldCallStore(redis, settings.holds))
submissions = submission_router(settings, redis, sqs, store, telemetry)
workflows = WorkflowCatalogue.from_file()
service = SubmitService(
    submissions, HeldCallService(long_poll, count=telemetry.count), store, limits=settings.limits, workflows=workflows
)
retries = RetryService(store, submissions, now_ms=now_ms)
app = resolver(telemetry)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


@app.post("/tasks")
async def submit() -> Response[str]:
    """Accept one call of prompts."""
    return _respond(await service.submit(_request()))


@app.post("/workflows/<name>")
async def start(name: str) -> Response[str]:
    """Accept one call of a workflow."""
    return _respond(await service.submit(_request(workflow=name)))


@app.get("/workflows")
async def list_workflows() -> Response[str]:
    """Show the workflows that the caller may start."""
    return answer(200, json.dumps({"workflows": workflows.shown(caller_of(app.current_event).models)}))


@app.post("/batches/<batch_id>/retry")
async def retry(batch_id: str) -> Response[str]:
    """Make new tasks of the failed ones of a batch."""
    key = read_key(app.current_event.headers.get("Idempotency-Key"))
    caller = caller_of(app.current_event)
    request = RetryRequest(caller.tenant, batch_id, service.allowed_models(caller), caller.budgets)
    return _respond(retried_response(await retries.retry(request, key)))


def _request(workflow: str | None = None) -> SubmitRequest:
    event = app.current_event
    preference = read_wait_preference(event.headers.get("Prefer"), event.resolved_query_string_parameters)
    return SubmitRequest(
        caller_of(event),
        event.body,
        preference,
        is_base64=bool(event.is_base64_encoded),
        idempotency_key=event.headers.get("Idempotency-Key"),
        workflow=workflow,
    )


def _respond(response: SubmitResponse) -> Response[str]:
    return answer(response.status, response.body, headers=response.headers, retry_after=response.retry_after)


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))


lambda_init.complete()
