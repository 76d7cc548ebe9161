"""POST /tasks: validate, record as queued, put on the queue, answer 202."""

import asyncio
import os
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import Response

from common.http import answer, resolver, tenant_of
from common.store import TaskStore, connect
from common.telemetry import Telemetry
from functions.submit.body import read_body
from functions.submit.queue import CLIENT, SqsTaskQueue
from functions.submit.schema import AcceptedBody
from functions.submit.service import Submission
from functions.submit.settings import SubmitSettings
from functions.submit.validation import read_call, read_repeatable

RETRY_AFTER_SECONDS = 1  # the soonest that asking for the tasks makes sense

settings = SubmitSettings.from_env(os.environ)
telemetry = Telemetry.from_env(os.environ)
redis = connect(settings.redis)
sqs = boto3.client("sqs", config=CLIENT)
submission = Submission(
    TaskStore(redis),
    SqsTaskQueue(sqs, settings.queue_url),
    warn=telemetry.logger.warning,
)
app = resolver(telemetry.logger)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


@app.post("/tasks")
async def submit() -> Response[str]:
    """Accept one call."""
    event = app.current_event
    tenant = tenant_of(event)
    document = read_body(event.body, is_base64=bool(event.is_base64_encoded))
    call = read_call(document, settings.limits)
    repeatable = read_repeatable(event.headers.get("Idempotency-Key"), document)
    accepted = await submission.accept(tenant, call, repeatable)
    if not accepted.replayed:
        telemetry.count("TasksSubmitted", len(call.prompts))
    body = AcceptedBody.of(accepted, call.prompts)
    headers = {"Location": body.links["batch"], **({"Idempotent-Replayed": "true"} if accepted.replayed else {})}
    return answer(202, body.encode(), headers=headers, retry_after=RETRY_AFTER_SECONDS)


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))
