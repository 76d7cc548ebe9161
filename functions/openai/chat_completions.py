"""POST /chat/completions, GET /chat/completions/{completion_id}."""

from typing import Any, Final

from aws_lambda_powertools.event_handler import Response

from common.domain.errors import NotFound
from common.domain.request import Kind
from common.domain.task import Answer, TaskRecord, TaskRef
from common.kinds.registry import registration_of
from common.submission.limits import Limits
from functions.openai.call import OpenAICall
from functions.openai.chat_chunks import replay
from functions.openai.chat_request import parse_chat_request
from functions.openai.errors import error_response, problem_of_running, problem_of_task
from functions.openai.held import HeldRequestService
from functions.openai.http_responses import event_stream_response, json_response, see_other
from functions.openai.transport_retries import TransportRetries

ENDPOINT: Final = "/chat/completions"
ID_PREFIX: Final = "chatcmpl-"


class ChatCompletions:
    """Create and retrieve chat completions of any tenant."""

    def __init__(self, requests: HeldRequestService, retries: TransportRetries, *, limits: Limits) -> None:
        """Create the resource.

        Args:
            requests: accepts requests, and holds their calls.
            retries: finds the task of a transport retry's first try.
            limits: the models, and the bounds of one request.

        """
        self._requests = requests
        self._retries = retries
        self._limits = limits

    async def create(self, call: OpenAICall) -> Response[str]:
        """Accept a request, and respond with its completion, or with a redirect to it.

        Raises:
            CallerError: the request breaks a rule, or is refused for now; nothing was accepted.
            StoreUnavailable, QueueUnavailable: it is safe to repeat as a transport retry.

        """
        document = call.document()
        request = parse_chat_request(document, self._limits.narrowed(call.caller.models))
        repeatable = await self._retries.identify(
            call.caller.tenant, ENDPOINT, document, key=call.idempotency_key, retry_count=call.retry_count
        )
        ref, record = await self._requests.create(
            call.caller, request.prompt, repeatable, hold_seconds=call.hold_seconds
        )
        # Relative to `…/chat/completions`.
        return _response(
            call,
            ref,
            record,
            path=f"completions/{completion_id(ref)}",
            is_streamed=request.is_streamed,
            includes_usage=request.includes_usage,
        )

    async def retrieve(self, call: OpenAICall, name: str) -> Response[str]:
        """Respond with a stored completion; `stream` and `include_usage` of the query are those of its request.

        Raises:
            NotFound: the tenant has no such completion.
            StoreUnavailable: Redis does not answer.

        """
        if not name.startswith(ID_PREFIX):
            raise NotFound("there is no such chat completion")
        ref, record = await self._requests.retrieve(
            call.caller.tenant, name.removeprefix(ID_PREFIX), Kind.CHAT, hold_seconds=call.hold_seconds
        )
        # Relative to `…/chat/completions/{completion_id}`.
        return _response(
            call,
            ref,
            record,
            path=completion_id(ref),
            is_streamed=call.flag("stream"),
            includes_usage=call.flag("include_usage"),
        )


def completion_id(ref: TaskRef) -> str:
    """Return the ID of a task's chat completion."""
    return f"{ID_PREFIX}{ref.task_id}"


def show_completion(record: TaskRecord, answer: Answer) -> dict[str, Any]:
    """Return the `chat.completion` of a completed task: the provider's object with our ID.

    The fields that OpenAI's type requires are added where the provider left them out.
    """
    stored = answer.response or {"choices": [{"message": {"role": "assistant"}}]}
    response = registration_of(record.kind).views.full_response(stored, answer.text)
    usage = answer.usage
    defaults: dict[str, Any] = {
        "id": "",
        "object": "chat.completion",
        "created": (record.ended_ms or record.created_ms) // 1000,
        "model": record.model,
    }
    if usage is not None:
        counts = ("prompt_tokens", "completion_tokens", "total_tokens")
        defaults["usage"] = {name: getattr(usage, name) for name in counts}
    given = {name: value for name, value in response.items() if value is not None or name not in defaults}
    choices = [_whole_choice(index, choice, answer) for index, choice in enumerate(response.get("choices") or ())]
    return {**defaults, **given, "id": completion_id(record.ref), "object": "chat.completion", "choices": choices}


def _whole_choice(index: int, choice: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, **(choice.get("message") or {})}
    finish_reason = choice.get("finish_reason") or answer.finish_reason
    if finish_reason is None:  # some providers name none
        finish_reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {"index": index, "logprobs": None, **choice, "message": message, "finish_reason": finish_reason}


def _response(  # noqa: PLR0913  # what the endpoint knows of the call
    call: OpenAICall,
    ref: TaskRef,
    record: TaskRecord | None,
    *,
    path: str,
    is_streamed: bool,
    includes_usage: bool,
) -> Response[str]:
    if record is None or not record.status.is_terminal:
        if not call.has_hop_left:
            return error_response(problem_of_running(completion_id(ref)), call.request_id)
        options = {"stream": is_streamed, "include_usage": includes_usage}
        kept = {name: "true" for name, is_set in options.items() if is_set}
        return see_other(call.location(path, **kept), call.request_id)
    if record.answer is None:
        return error_response(problem_of_task(record, completion_id(ref)), call.request_id)
    completion = show_completion(record, record.answer)
    if is_streamed:
        return event_stream_response(replay(completion, includes_usage=includes_usage), call.request_id)
    return json_response(completion, call.request_id)
