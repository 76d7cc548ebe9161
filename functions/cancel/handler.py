"""POST /tasks/{task_id}/cancel, /batches/{batch_id}/cancel: cancel tasks that have not ended."""

from common.runtime import lambda_init

# isort: split
import asyncio
import json
import os
import time
from typing import Any

from aws_lambda_powertools.event_handler import Response

from common.api.http import answer, resolver, tenant_of
from common.runtime.settings import StoreSettings
from common.runtime.telemetry import Telemetry
from common.store import TaskStore, connect
from common.webhooks.publisher import WebhookPublisher
from functions.cancel.service import Cancellation

telemetry = Telemetry.from_env(os.environ)
settings = StoreSettings.from_env(os.environ)
redis = connect(settings.redis)
store = TaskStore(redis, announcer=WebhookPublisher(settings.webhook_queue_url))
cancellation = Cancellation(store, now_ms=lambda: time.time_ns() // 1_000_000)
app = resolver(telemetry)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


@app.post("/tasks/<task_id>/cancel")
async def cancel_task(task_id: str) -> Response[str]:
    """Cancel one task."""
    return answer(200, json.dumps(await cancellation.task(tenant_of(app.current_event), task_id)))


@app.post("/batches/<batch_id>/cancel")
async def cancel_batch(batch_id: str) -> Response[str]:
    """Cancel the tasks of a batch that have not ended."""
    return answer(200, json.dumps(await cancellation.batch(tenant_of(app.current_event), batch_id)))


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))


lambda_init.complete()
