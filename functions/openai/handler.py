"""GET, POST and DELETE /openai/v1/{proxy+}: wire the resources, and route to them."""

from common.runtime import lambda_init

# isort: split
import asyncio
import os
from typing import Any, Final
from urllib.parse import unquote

import boto3
from aws_lambda_powertools.event_handler import Response

from common.api.http import caller_of, resolver
from common.api.long_poll import LongPoll
from common.runtime.telemetry import Telemetry
from common.store import TaskNotifications, TaskStore, connect
from common.store.held_calls import HeldCallStore
from common.store.transport_retries import TransportRetryStore
from common.submission.queue import CLIENT
from common.submission.settings import SubmissionSettings
from common.submission.wiring import submission_router
from common.webhooks.publisher import WebhookPublisher
from functions.openai.call import OpenAICall
from functions.openai.chat_completions import ChatCompletions
from functions.openai.embeddings import Embeddings
from functions.openai.errors import error_response
from functions.openai.held import HeldRequestService, UnlimitedHeldCalls
from functions.openai.http_responses import json_response
from functions.openai.models import list_models, retrieve_model
from functions.openai.responses import Responses
from functions.openai.transport_retries import TransportRetries

ROOT: Final = "/openai/v1"

settings = SubmissionSettings.for_single_requests(os.environ)
telemetry = Telemetry.from_env(os.environ)
redis = connect(settings.redis)
sqs = boto3.client("sqs", config=CLIENT)
store = TaskStore(redis, announcer=WebhookPublisher(settings.webhook_queue_url))
held_calls = HeldCallStore(redis, settings.holds, group="openai")
requests = HeldRequestService(
    submission_router(settings, redis, sqs, store, telemetry),
    LongPoll(store, TaskNotifications(redis), UnlimitedHeldCalls()),
    held_calls,
    store,
    limits=settings.limits,
    count=telemetry.count,
)
retries = TransportRetries(TransportRetryStore(redis))
chat_completions = ChatCompletions(requests, retries, limits=settings.limits)
embeddings = Embeddings(requests, retries, limits=settings.limits)
responses = Responses(requests, retries, store, limits=settings.limits)
app = resolver(telemetry, error_response)
runner = asyncio.Runner()  # one loop for the life of the environment: the Redis client is bound to it


@app.post(f"{ROOT}/chat/completions")
async def create_chat_completion() -> Response[str]:
    """Create a chat completion."""
    return await chat_completions.create(_call())


@app.get(f"{ROOT}/chat/completions/<completion_id>")
async def retrieve_chat_completion(completion_id: str) -> Response[str]:
    """Show a stored chat completion."""
    return await chat_completions.retrieve(_call(), completion_id)


@app.post(f"{ROOT}/responses")
async def create_response() -> Response[str]:
    """Create a response."""
    return await responses.create(_call())


@app.get(f"{ROOT}/responses/<response_id>")
async def retrieve_response(response_id: str) -> Response[str]:
    """Show a response."""
    return await responses.retrieve(_call(), response_id)


@app.delete(f"{ROOT}/responses/<response_id>")
async def delete_response(response_id: str) -> Response[str]:
    """Delete a response."""
    return await responses.delete(_call(), response_id)


@app.get(f"{ROOT}/responses/<response_id>/input_items")
async def list_input_items(response_id: str) -> Response[str]:
    """List the input items of a response."""
    return await responses.list_input_items(_call(), response_id)


@app.post(f"{ROOT}/responses/<response_id>/cancel")
async def cancel_response(response_id: str) -> Response[str]:
    """Cancel a response."""
    return await responses.cancel(_call(), response_id)


@app.post(f"{ROOT}/embeddings")
async def create_embeddings() -> Response[str]:
    """Create embeddings."""
    return await embeddings.create(_call())


@app.get(f"{ROOT}/embeddings/<embeddings_id>")
async def retrieve_embeddings(embeddings_id: str) -> Response[str]:
    """Show the embeddings of a redirected call."""
    return await embeddings.retrieve(_call(), embeddings_id)


@app.get(f"{ROOT}/models")
async def show_models() -> Response[str]:
    """List the models that the caller's key may use."""
    call = _call()
    return json_response(list_models(call.caller, settings.limits.models), call.request_id)


@app.get(f"{ROOT}/models/.+")  # a model's name may have slashes
async def show_model() -> Response[str]:
    """Show one of these models."""
    name = unquote(app.current_event.path.removeprefix(f"{ROOT}/models/"))
    caller = caller_of(app.current_event)
    return json_response(retrieve_model(caller, settings.limits.models, name), app.lambda_context.aws_request_id)


def _call() -> OpenAICall:
    return OpenAICall.of(app.current_event, app.lambda_context.aws_request_id)


@telemetry.observe
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # Lambda's own
    """Answer API Gateway."""
    return runner.run(app.resolve_async(event, context))


lambda_init.complete()
