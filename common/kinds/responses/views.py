"""Derive the views of a stored response: its text, tool calls and refusal. Standard library only.

A text that is one part is stored once, beside the response. See `full_response`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from common.domain.task import Answer, ToolCall, ToolKind

HAS_TEXT: Final = True
"""Whether its tasks have a text."""

_CALLS: Final = {"function_call": ToolKind.FUNCTION, "custom_tool_call": ToolKind.CUSTOM}


def stored_response(answer: Answer, /) -> Mapping[str, Any] | None:
    """Return the response to store with an answer."""
    return answer.response


def full_response(response: Mapping[str, Any], text: str, /) -> dict[str, Any]:
    """Return a stored response with its text put back."""
    return _with_text(response, lambda part: part if "text" in part else {"type": part["type"], "text": text, **part})


def without_text(response: Mapping[str, Any], /) -> dict[str, Any]:
    """Return a response without its text, where that is one part: the text is stored beside it."""
    if len(list(_parts(response, "output_text"))) != 1:
        return dict(response)
    return _with_text(response, lambda part: {name: value for name, value in part.items() if name != "text"})


def text_of(response: Mapping[str, Any], /) -> str:
    """Join the text of all messages, as `output_text` of the SDK does."""
    return "".join(str(part.get("text") or "") for part in _parts(response, "output_text"))


def tool_calls_of(response: Mapping[str, Any] | None, /) -> tuple[ToolCall, ...]:
    """Return the tool calls of a response, in their order."""
    return tuple(_read_tool_call(item) for item in _items(response) if item.get("type") in _CALLS)


def refusal_of(response: Mapping[str, Any] | None, /) -> str | None:
    """Return the text in which the model refused to answer."""
    return "".join(str(part.get("refusal") or "") for part in _parts(response, "refusal")) or None


def _items(response: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    return (item for item in (response or {}).get("output") or () if isinstance(item, Mapping))


def _parts(response: Mapping[str, Any] | None, part_type: str) -> Iterator[Mapping[str, Any]]:
    for item in _items(response):
        if item.get("type") == "message":
            yield from (part for part in item.get("content") or () if _is_part(part, part_type))


def _is_part(part: object, part_type: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == part_type


def _with_text(response: Mapping[str, Any], changed: Any) -> dict[str, Any]:  # noqa: ANN401  # a function of a part
    """Return a response with each part of text changed."""

    def item_of(item: Any) -> Any:  # noqa: ANN401  # any JSON value
        if not isinstance(item, Mapping) or item.get("type") != "message" or not isinstance(item.get("content"), list):
            return item
        content = [changed(part) if _is_part(part, "output_text") else part for part in item["content"]]
        return {**item, "content": content}

    if not isinstance(response.get("output"), list):
        return dict(response)
    return {**response, "output": [item_of(item) for item in response["output"]]}


def _read_tool_call(item: Mapping[str, Any]) -> ToolCall:
    kind = _CALLS[item["type"]]
    return ToolCall(item.get("call_id") or item.get("id") or "", item["name"], item.get(kind.argument) or "", kind)
