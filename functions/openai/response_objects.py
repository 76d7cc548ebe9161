"""Show a task of the kind `responses` as a `response` object."""

from collections.abc import Mapping
from typing import Any, Final

from common.api.serializers import SENTENCES
from common.domain.task import Answer, FailureCode, TaskRecord, TaskRef, TaskStatus, Usage
from common.kinds.registry import registration_of

ID_PREFIX: Final = "resp_"

_STATUSES: Final = {
    TaskStatus.QUEUED: "queued",
    TaskStatus.PROCESSING: "in_progress",
    TaskStatus.FAILED: "failed",
    TaskStatus.CANCELLED: "cancelled",
}
"""The status of a response without an answer; one with an answer has the provider's."""

_ERROR_CODES: Final = {
    FailureCode.RATE_LIMITED: "rate_limit_exceeded",
    FailureCode.QUOTA_EXHAUSTED: "rate_limit_exceeded",
    FailureCode.BAD_REQUEST: "invalid_prompt",
    FailureCode.CONTEXT_LENGTH_EXCEEDED: "invalid_prompt",
    FailureCode.REQUEST_TOO_LARGE: "invalid_prompt",
}
"""The code of a failure in OpenAI's closed list; every other failure is a `server_error`."""

_ECHOED: Final = (
    *("instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "reasoning"),
    *("service_tier", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "user", "background"),
)
"""The params that a response repeats."""


def response_id(ref: TaskRef) -> str:
    """Return the ID of a task's response."""
    return f"{ID_PREFIX}{ref.task_id}"


def is_withheld(record: TaskRecord) -> bool:
    """Return whether the provider's filter withheld the response, which is `incomplete` then."""
    return record.code is FailureCode.CONTENT_POLICY


def show_response(record: TaskRecord, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the `response` object of a task, in whatever state it is.

    The fields that OpenAI's type requires are added where the provider left them out. `request` has the params of a
    task that was just accepted; later the record has none of them.
    """
    shown: dict[str, Any] = {
        "id": "",
        "object": "response",
        "created_at": record.created_ms // 1000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": record.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }
    shown |= {name: value for name in _ECHOED if (value := (request or {}).get(name)) is not None}
    if record.answer is not None:
        shown |= _given(record, record.answer, shown)
    else:
        shown |= _unanswered(record)
    return {**shown, "id": response_id(record.ref), "object": "response"}


def _given(record: TaskRecord, answer: Answer, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provider's object, without nulls that would hide a default."""
    full = registration_of(record.kind).views.full_response(answer.response or {}, answer.text)
    given = {name: value for name, value in full.items() if value is not None or defaults.get(name) is None}
    if answer.usage is not None:
        usage = _show_usage(answer.usage)
        for name, value in (given.get("usage") or {}).items():
            usage[name] = {**usage.get(name, {}), **value} if isinstance(value, dict) else value
        given["usage"] = usage
    return given


def _unanswered(record: TaskRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": _STATUSES[record.status]}
    if record.failed_usage is not None:
        shown["usage"] = _show_usage(record.failed_usage)
    if is_withheld(record):
        shown |= {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
        if record.partial:
            part = {"type": "output_text", "text": record.partial, "annotations": [], "logprobs": []}
            item = {"type": "message", "id": f"msg_{record.ref.task_id}", "role": "assistant", "status": "incomplete"}
            shown["output"] = [{**item, "content": [part]}]
    elif record.code is not None:
        code = _ERROR_CODES.get(record.code, "server_error")
        shown["error"] = {"code": code, "message": SENTENCES[record.code], "type": record.code}
    return shown


def _show_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
