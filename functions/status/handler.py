"""GET /tasks, /tasks/{task_id}, /batches/{batch_id}, /usage: wire the services, and route to them."""

from common.runtime import lambda_init

# isort: split
import asyncio
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools.event_handler import Response

from common.api.http import answer, caller_of, resolver, tenant_of
from common.api.long_poll import LongPoll, WaitOutcome, read_wait_preference
from common.api.serializers import TASK_FIELDS
from common.domain.task import TaskRef, refs_in
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry
from common.store import TaskNotifications, TaskStore, connect
from common.store.held_calls import HeldCallStore
from common.webhooks.publisher import WebhookPublisher
from functions.status.etag import etag_of, is_known
from functions.status.query import fields, page, task_ids
from functions.status.service import StatusService, View
from functions.status.settings import StatusSettings
from functions.status.stream import UNHELD_STEP, EventStream, cursor_of
from functions.status.usage import show_usage

settings = StatusSettings.from_env(os.environ)
telemetry = Telemetry.from_env(os.environ)
redis = connect(settings.redis)
store = TaskStore(redis, announcer=WebhookPublisher(settings.webhook_queue_url))
lookup = StatusService(store, now_ms=lambda: time.time_ns() // 1_000_000)
held_calls = HeldCallStore(redis, settings.holds)
waiting = LongPoll(store, TaskNotifications(redis), held_calls)
stream = EventStream(store, TaskNotifications(redis), held_calls, now_ms=lambda: time.time_ns() // 1_000_000)
app = resolver(telemetry)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


@app.get("/tasks")
async def show_tasks() -> Response[str]:
    """Show many tasks."""
    query = app.current_event.resolved_query_string_parameters
    tenant, ids, names = tenant_of(app.current_event), task_ids(query), fields(query, TASK_FIELDS)
    status, headers = await _hold(refs_in(tenant, ids))
    return _answer(await lookup.tasks(tenant, ids, names), status, headers)


@app.get("/tasks/<task_id>")
async def show_task(task_id: str) -> Response[str]:
    """Show one task."""
    names = fields(app.current_event.resolved_query_string_parameters, TASK_FIELDS)
    tenant = tenant_of(app.current_event)
    status, headers = await _hold(refs_in(tenant, [task_id]))
    return _answer(await lookup.task(tenant, task_id, names), status, headers)


@app.get("/tasks/<task_id>/stream")
async def show_steps(task_id: str) -> Response[str]:
    """Show a task's next step as server-sent events; 204 ends an EventSource."""
    event = app.current_event
    known = cursor_of(event.headers.get("Last-Event-ID"), event.resolved_query_string_parameters)
    events = await stream.next_step(tenant_of(event), task_id, known)
    if events == UNHELD_STEP:
        telemetry.count(Metric.UNHELD)
    return answer(204, "") if events is None else answer(200, events, content_type="text/event-stream")


@app.get("/usage")
async def usage() -> Response[str]:
    """Show what the tenant has used today."""
    caller = caller_of(app.current_event)
    shown = await show_usage(store, caller.tenant, caller.budgets, time.time_ns() // 1_000_000)
    return answer(200, json.dumps(shown))


@app.get("/batches/<batch_id>")
async def show_batch(batch_id: str) -> Response[str]:
    """Show a batch and a page of its tasks."""
    selection = page(app.current_event.resolved_query_string_parameters)
    tenant = tenant_of(app.current_event)
    status, headers = await _hold(await lookup.refs_of(tenant, batch_id))
    return _answer(await lookup.batch(tenant, batch_id, selection), status, headers)


async def _hold(refs: Sequence[TaskRef]) -> tuple[int, dict[str, str]]:
    """Hold the response as long as the caller prefers, and return its status and the headers of the preference.

    A response above the limit of held calls has the status of a wait that timed out, and no `Preference-Applied`.
    """
    event = app.current_event
    preference = read_wait_preference(event.headers.get("Prefer"), event.resolved_query_string_parameters)
    if not preference.seconds:
        return 200, {}
    outcome = await waiting.wait(refs, preference)
    if outcome is WaitOutcome.NOT_HELD:
        telemetry.count(Metric.UNHELD)
        return 202, {}
    return (200 if outcome is WaitOutcome.ENDED else 202), preference.headers


def _answer(view: View, status: int, headers: dict[str, str]) -> Response[str]:
    body = json.dumps(view.body)
    tag = etag_of(body)
    headers = {"ETag": tag, **headers}
    if is_known(tag, app.current_event.headers.get("If-None-Match")):
        return answer(304, "", headers=headers, retry_after=view.retry_after)
    return answer(status, body, headers=headers, retry_after=view.retry_after)


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))


lambda_init.complete()
