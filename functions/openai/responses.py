"""POST /responses; GET and DELETE /responses/{response_id}; POST /responses/{response_id}/cancel."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol

from aws_lambda_powertools.event_handler import Response
from msgspec import Meta, Struct

from common.api.conversion import converted, shaped
from common.api.http import Problem
from common.api.pagination import MOST_BYTES, size_of
from common.domain.errors import InvalidRequest, NotFound, StoreUnavailable
from common.domain.request import Kind
from common.domain.task import FailureCode, TaskRecord, TaskRef
from common.domain.transitions import EndOutcome
from common.submission.limits import Limits
from common.webhooks.model import LONGEST_URL, RESPONSE_EVENTS, Webhook
from functions.openai.call import OpenAICall
from functions.openai.chat_request import UNSUPPORTED
from functions.openai.endpoint_request import parse_endpoint_request, without
from functions.openai.errors import error_response, problem_of_running, problem_of_task
from functions.openai.held import HeldRequestService
from functions.openai.http_responses import event_stream_response, json_response, see_other
from functions.openai.input_items import encode_input, list_items
from functions.openai.response_events import replay
from functions.openai.response_objects import ID_PREFIX, is_withheld, response_id, show_response
from functions.openai.transport_retries import TransportRetries

ENDPOINT: Final = "/responses"

_NO_OBFUSCATION: Final = "must be false: a replayed stream has no timing to hide"
_TOO_LARGE: Final = Problem(
    HTTPStatus.CONTENT_TOO_LARGE,
    "stream_too_large",
    "The events of this response repeat its text, and are too large. Retrieve it without `stream`.",
)


class TaskRemover(Protocol):
    """Cancel and delete tasks. Each method raises StoreUnavailable where Redis does not answer."""

    async def cancel(self, refs: Sequence[TaskRef], code: FailureCode | None = None) -> list[EndOutcome]:
        """Cancel tasks that have not ended."""

    async def delete(self, refs: Sequence[TaskRef]) -> None:
        """Cancel tasks that have not ended, and delete them."""


class ResponseFields(Struct, frozen=True, kw_only=True):
    """The fields that say how a response is shown."""

    stream: bool = False
    stream_options: dict[str, Any] | None = None
    background: bool = False
    store: bool | None = None
    webhook: dict[str, Any] | None = None


class WebhookOptions(Struct, frozen=True, kw_only=True):
    """The address that gets the event of the response: an extension of Sluice."""

    url: Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]


class StreamOptions(Struct, frozen=True, kw_only=True):
    """The options of a replayed stream."""

    include_obfuscation: bool | None = None


class Responses:
    """Create, retrieve, cancel and delete responses of any tenant."""

    def __init__(
        self, requests: HeldRequestService, retries: TransportRetries, tasks: TaskRemover, *, limits: Limits
    ) -> None:
        """Create the resource.

        Args:
            requests: accepts requests, and holds their calls.
            retries: finds the task of a transport retry's first try.
            tasks: cancels and deletes tasks.
            limits: the models, and the bounds of one request.

        """
        self._requests = requests
        self._retries = retries
        self._tasks = tasks
        self._limits = limits

    async def create(self, call: OpenAICall) -> Response[str]:
        """Accept a request, and respond with its response, or with a redirect to it; in the background, at once.

        Raises:
            CallerError: the request breaks a rule, or is refused for now; nothing was accepted.
            StoreUnavailable, QueueUnavailable: it is safe to repeat as a transport retry.

        """
        document = call.document()
        limits = self._limits.narrowed(call.caller.models)
        prompt, fields = parse_endpoint_request(without(document, "webhook"), Kind.RESPONSES, limits)
        own = _own_fields(document)
        webhook = None if own.webhook is None else _webhook(own.webhook, limits)
        repeatable = await self._retries.identify(
            call.caller.tenant, ENDPOINT, document, key=call.idempotency_key, retry_count=call.retry_count
        )
        in_background = own.background and not own.stream
        hold_seconds = 0 if in_background else call.hold_seconds
        ref, record = await self._requests.create(
            call.caller, prompt, repeatable, hold_seconds=hold_seconds, webhook=webhook, input_text=encode_input(fields)
        )
        if in_background:
            return _current(call, record, fields)
        # Relative to `…/responses`.
        return _ended(call, ref, record, path=f"responses/{response_id(ref)}", is_streamed=own.stream)

    async def retrieve(self, call: OpenAICall, name: str) -> Response[str]:
        """Respond with a response as it is now; with `stream`, or after a redirect, once it has ended.

        Raises:
            NotFound: the tenant has no such response.
            StoreUnavailable: Redis does not answer.

        """
        is_streamed, starting_after = call.flag("stream"), _starting_after(call)
        is_awaited = call.hop > 0 or is_streamed
        ref, record = await self._find(call, name, hold_seconds=call.hold_seconds if is_awaited else call.wait_seconds)
        if not is_awaited:
            return _current(call, record)
        # Relative to `…/responses/{response_id}`.
        return _ended(call, ref, record, path=response_id(ref), is_streamed=is_streamed, starting_after=starting_after)

    async def cancel(self, call: OpenAICall, name: str) -> Response[str]:
        """Cancel a response that has not ended, and respond with it; idempotent.

        Raises:
            NotFound: the tenant has no such response.
            StoreUnavailable: Redis does not answer.

        """
        ref, _ = await self._find(call, name, hold_seconds=0)
        await self._tasks.cancel([ref])
        _, record = await self._find(call, name, hold_seconds=0)
        return _current(call, record)

    async def delete(self, call: OpenAICall, name: str) -> Response[str]:
        """Cancel a response that has not ended, and delete it: it is not found any more.

        Raises:
            NotFound: the tenant has no such response.
            StoreUnavailable: Redis does not answer; repeat the call.

        """
        ref, _ = await self._find(call, name, hold_seconds=0)
        await self._tasks.delete([ref])
        return json_response({"id": response_id(ref), "object": "response", "deleted": True}, call.request_id)

    async def list_input_items(self, call: OpenAICall, name: str) -> Response[str]:
        """Respond with a page of the input items of a response.

        Raises:
            NotFound: the tenant has no such response, or its input was not kept.
            InvalidRequest: a parameter of the page breaks a rule.
            StoreUnavailable: Redis does not answer.

        """
        ref, _ = await self._find(call, name, hold_seconds=0)
        query = {name: values[-1] for name, values in call.query.items() if values}
        items = list_items(await self._requests.input_of(ref), ref.task_id, query)
        return json_response(items, call.request_id)

    async def _find(self, call: OpenAICall, name: str, *, hold_seconds: int) -> tuple[TaskRef, TaskRecord | None]:
        if not name.startswith(ID_PREFIX):
            raise NotFound("there is no such response")
        return await self._requests.retrieve(
            call.caller.tenant, name.removeprefix(ID_PREFIX), Kind.RESPONSES, hold_seconds=hold_seconds
        )


def _webhook(given: dict[str, Any], limits: Limits) -> Webhook:
    options = shaped(given, WebhookOptions, "/webhook")
    limits.check_webhook_url(options.url, "/webhook/url")
    return Webhook(options.url, RESPONSE_EVENTS)


def _own_fields(document: object) -> ResponseFields:
    fields = document if isinstance(document, dict) else {}
    given = {name: fields[name] for name in ResponseFields.__struct_fields__ if fields.get(name) is not None}
    own = converted(given, ResponseFields, "")
    if own.stream_options is not None:
        if not own.stream:
            raise InvalidRequest("must not be set without `stream`", pointer="/stream_options", code="invalid_value")
        if shaped(own.stream_options, StreamOptions, "/stream_options").include_obfuscation:
            raise InvalidRequest(_NO_OBFUSCATION, pointer="/stream_options/include_obfuscation", code=UNSUPPORTED)
    return own


def _starting_after(call: OpenAICall) -> int:
    text = call.query.get("starting_after", ["-1"])[-1]
    if text != "-1" and not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004  # digits
        raise InvalidRequest("must be a sequence number", pointer="/starting_after", code="invalid_value")
    return int(text)


def _current(call: OpenAICall, record: TaskRecord | None, request: dict[str, Any] | None = None) -> Response[str]:
    if record is None:  # lost by Redis, and not yet rebuilt
        raise StoreUnavailable
    return json_response(show_response(record, request), call.request_id)


def _ended(  # noqa: PLR0913  # what the endpoint knows of the call
    call: OpenAICall,
    ref: TaskRef,
    record: TaskRecord | None,
    *,
    path: str,
    is_streamed: bool,
    starting_after: int = -1,
) -> Response[str]:
    if record is None or not record.status.is_terminal:
        if not call.has_hop_left:
            return error_response(problem_of_running(response_id(ref)), call.request_id)
        query = {"stream": "true"} if is_streamed else {}
        if starting_after >= 0:
            query["starting_after"] = str(starting_after)
        return see_other(call.location(path, **query), call.request_id)
    if record.answer is None and not is_withheld(record):
        return error_response(problem_of_task(record, response_id(ref)), call.request_id)
    response = show_response(record)
    if not is_streamed:
        return json_response(response, call.request_id)
    events = replay(response, starting_after=starting_after)
    if size_of({"": events}) > MOST_BYTES:
        return error_response(_TOO_LARGE, call.request_id)
    return event_stream_response(events, call.request_id)
