"""Derive the views of a stored chat completion: its text, tool calls and refusal. Standard library only.

The text is stored once, beside the response. See `full_response`.
"""

from collections.abc import Mapping
from typing import Any, Final

from common.domain.task import Answer, ToolCall, ToolKind

HAS_TEXT: Final = True
"""Whether its tasks have a text."""

_NOTHING: Final[Mapping[str, Any]] = {}


def stored_response(answer: Answer, /) -> Mapping[str, Any] | None:
    """Return the response to store with an answer: the provider's, or the least that says the same.

    It is None where the text and the finish reason say all.
    """
    if answer.response is not None or not (answer.tool_calls or answer.refusal):
        return answer.response
    message: dict[str, Any] = {"role": "assistant", "refusal": answer.refusal}
    if answer.tool_calls:
        message["tool_calls"] = [call.encode() for call in answer.tool_calls]
    return {"choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}]}


def full_response(response: Mapping[str, Any], text: str, /) -> dict[str, Any]:
    """Return a stored `chat.completion` with the text of its first choice put back."""
    message = _message_of(response)
    if not message or "content" in message:
        return dict(response)
    first, *others = response["choices"]
    # `content` follows `role`, as the provider has it.
    filled = {"role": message.get("role"), "content": text, **message}
    return {**response, "choices": [{**first, "message": filled}, *others]}


def tool_calls_of(response: Mapping[str, Any] | None, /) -> tuple[ToolCall, ...]:
    """Return the tool calls of a stored response, in their order."""
    message = _message_of(response)
    calls = message.get("tool_calls")
    if not calls and (call := message.get("function_call")):  # what chat completions had before tool calls
        calls = [{"function": call}]
    return tuple(map(_read_tool_call, calls or ()))


def refusal_of(response: Mapping[str, Any] | None, /) -> str | None:
    """Return the text in which the model refused to answer."""
    message = _message_of(response)
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    refusals = [str(part["refusal"]) for part in parts if isinstance(part, dict) and part.get("refusal")]
    return message.get("refusal") or "".join(refusals) or None


def _message_of(response: Mapping[str, Any] | None) -> Mapping[str, Any]:
    choices = (response or _NOTHING).get("choices") or [_NOTHING]
    message: Mapping[str, Any] = choices[0].get("message") or _NOTHING
    return message


def _read_tool_call(raw: Mapping[str, Any]) -> ToolCall:
    kind = ToolKind.CUSTOM if raw.get("type") == ToolKind.CUSTOM else ToolKind.FUNCTION
    function = raw[kind]
    return ToolCall(raw.get("id") or "", function["name"], function.get(kind.argument) or "", kind)
