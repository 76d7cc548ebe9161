"""GET /tasks, /tasks/{task_id}, /batches/{batch_id}: look up, show."""

import asyncio
import json
import os
import time
from typing import Any

from aws_lambda_powertools.event_handler import Response

from common.http import answer, resolver, tenant_of
from common.store import TaskStore, connect
from common.telemetry import Telemetry
from common.views import TASK_FIELDS
from functions.status.query import fields, page, task_ids
from functions.status.service import Lookup, View
from functions.status.settings import StatusSettings
from functions.status.tag import is_known, tag_of

settings = StatusSettings.from_env(os.environ)
telemetry = Telemetry.from_env(os.environ)
redis = connect(settings.redis)
lookup = Lookup(TaskStore(redis), now_ms=lambda: time.time_ns() // 1_000_000)
app = resolver(telemetry.logger)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


@app.get("/tasks")
async def show_tasks() -> Response[str]:
    """Show many tasks."""
    query = app.current_event.resolved_query_string_parameters
    return _answer(await lookup.tasks(tenant_of(app.current_event), task_ids(query), fields(query, TASK_FIELDS)))


@app.get("/tasks/<task_id>")
async def show_task(task_id: str) -> Response[str]:
    """Show one task."""
    names = fields(app.current_event.resolved_query_string_parameters, TASK_FIELDS)
    return _answer(await lookup.task(tenant_of(app.current_event), task_id, names))


@app.get("/batches/<batch_id>")
async def show_batch(batch_id: str) -> Response[str]:
    """Show a batch and a page of its tasks."""
    asked = page(app.current_event.resolved_query_string_parameters)
    return _answer(await lookup.batch(tenant_of(app.current_event), batch_id, asked))


def _answer(view: View) -> Response[str]:
    body = json.dumps(view.body)
    tag = tag_of(body)
    if is_known(tag, app.current_event.headers.get("If-None-Match")):
        return answer(304, "", headers={"ETag": tag}, retry_after=view.retry_after)
    return answer(200, body, headers={"ETag": tag}, retry_after=view.retry_after)


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))
