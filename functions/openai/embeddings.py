"""POST /embeddings, and the GET of its redirects."""

from typing import Any, Final

from aws_lambda_powertools.event_handler import Response

from common.domain.errors import InvalidRequest, NotFound
from common.domain.request import Kind
from common.domain.task import Answer, TaskRecord, TaskRef
from common.kinds.registry import registration_of
from common.submission.limits import Limits
from functions.openai.call import OpenAICall
from functions.openai.chat_request import UNSUPPORTED
from functions.openai.endpoint_request import parse_endpoint_request
from functions.openai.errors import error_response, problem_of_running, problem_of_task
from functions.openai.held import HeldRequestService
from functions.openai.http_responses import json_response, see_other
from functions.openai.transport_retries import TransportRetries

ENDPOINT: Final = "/embeddings"
ID_PREFIX: Final = "embd-"

_NOT_HERE: Final = ("stream", "stream_options", "background")


class Embeddings:
    """Create embeddings for any tenant."""

    def __init__(self, requests: HeldRequestService, retries: TransportRetries, *, limits: Limits) -> None:
        """Create the resource; the arguments are those of `ChatCompletions`."""
        self._requests = requests
        self._retries = retries
        self._limits = limits

    async def create(self, call: OpenAICall) -> Response[str]:
        """Accept a request, and respond with its embeddings, or with a redirect to them.

        Raises:
            CallerError: the request breaks a rule, or is refused for now; nothing was accepted.
            StoreUnavailable, QueueUnavailable: it is safe to repeat as a transport retry.

        """
        document = call.document()
        limits = self._limits.narrowed(call.caller.models)
        prompt, fields = parse_endpoint_request(document, Kind.EMBEDDINGS, limits)
        for name in filter(fields.__contains__, _NOT_HERE):
            raise InvalidRequest("is not a parameter of embeddings", pointer=f"/{name}", code=UNSUPPORTED)
        repeatable = await self._retries.identify(
            call.caller.tenant, ENDPOINT, document, key=call.idempotency_key, retry_count=call.retry_count
        )
        ref, record = await self._requests.create(call.caller, prompt, repeatable, hold_seconds=call.hold_seconds)
        return _response(call, ref, record, path=f"embeddings/{_id_of(ref)}")

    async def retrieve(self, call: OpenAICall, name: str) -> Response[str]:
        """Respond with the embeddings of a redirected call.

        Raises:
            NotFound: the tenant has no such embeddings.
            StoreUnavailable: Redis does not answer.

        """
        if not name.startswith(ID_PREFIX):
            raise NotFound("there are no such embeddings")
        ref, record = await self._requests.retrieve(
            call.caller.tenant, name.removeprefix(ID_PREFIX), Kind.EMBEDDINGS, hold_seconds=call.hold_seconds
        )
        return _response(call, ref, record, path=_id_of(ref))


def show_embeddings(record: TaskRecord, answer: Answer) -> dict[str, Any]:
    """Return the `list` of a completed task, in the encoding of its request, with the fields that OpenAI's has."""
    shown = registration_of(record.kind).views.full_response(answer.response or {}, answer.text)
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    if answer.usage is not None:
        usage = {"prompt_tokens": answer.usage.prompt_tokens, "total_tokens": answer.usage.total_tokens}
    given = {name: value for name, value in shown.items() if value is not None}
    return {"object": "list", "model": record.model, "usage": usage, **given}


def _id_of(ref: TaskRef) -> str:
    return f"{ID_PREFIX}{ref.task_id}"


def _response(call: OpenAICall, ref: TaskRef, record: TaskRecord | None, *, path: str) -> Response[str]:
    if record is None or not record.status.is_terminal:
        if not call.has_hop_left:
            return error_response(problem_of_running(_id_of(ref)), call.request_id)
        return see_other(call.location(path), call.request_id)
    if record.answer is None:
        return error_response(problem_of_task(record, _id_of(ref)), call.request_id)
    return json_response(show_embeddings(record, record.answer), call.request_id)
