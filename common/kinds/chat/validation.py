"""Validate the body of a chat request: its messages, and its params.

Some params are reserved: Sluice sets them itself, or the price table has no price for them.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from common.api.conversion import converted
from common.domain.errors import InvalidRequest
from common.kinds.params import MOST_TOOLS, RESERVED, ParamNames, check_tier, check_tools, without_nulls

type Count = Annotated[int, Meta(ge=1, le=10_000_000)]
type Penalty = Annotated[float, Meta(ge=-2, le=2)]

MOST_CHOICES: Final = 128
"""Choices of one request, at most: OpenAI's own limit."""


class Messages(Struct, frozen=True):
    """The field that every body has."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class KnownParams(Struct, frozen=True, kw_only=True):
    """The params whose type or range is known. The model validates all others.

    Source: https://platform.openai.com/docs/api-reference/chat/create
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: int | None = None
    user: str | None = None
    reasoning_effort: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MOST_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None


class ParamsOfResponse(KnownParams, frozen=True, kw_only=True):
    """The known params of a request whose whole response is shown."""

    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


IGNORED: Final = frozenset({"model", "stream", "stream_options"})
"""The fields of a body that Sluice reads or sets itself."""

_OURS: Final = "is set by Sluice itself"
_TEXT_ONLY: Final = "is not supported: Sluice keeps one response of text and tool calls"
_BY_TOOLS: Final = "is deprecated; use `tools` and `tool_choice`"
_ONE_MODEL: Final = "names other models; set one `model` next to `params`"

KEPT_IN_RESPONSE: Final = frozenset({"n", "logprobs", "top_logprobs"})
"""The reserved params whose effect only the whole response shows."""

RESERVED_PARAMS: Final[Mapping[str, str]] = {
    **RESERVED,
    "model": "belongs next to `params`, not inside",
    "messages": "belongs next to `params`, not inside",
    "stream": _OURS,
    "stream_options": _OURS,
    "n": _TEXT_ONLY,
    "logprobs": _TEXT_ONLY,
    "top_logprobs": _TEXT_ONLY,
    "modalities": _TEXT_ONLY,
    "audio": _TEXT_ONLY,
    "functions": _BY_TOOLS,
    "function_call": _BY_TOOLS,
    "models": _ONE_MODEL,
    "fallbacks": _ONE_MODEL,
}
"""The params that a caller may not set, and why."""


ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_INSTRUCTIONS: Final = ("system", "developer")


def check_messages(messages: Sequence[Mapping[str, Any]], place: str) -> bool:
    """Validate messages; `place` is their JSON pointer.

    Returns:
        Whether they include a system or developer message.

    Raises:
        InvalidRequest: the first message that breaks a rule, and the rule.

    """
    for index, message in enumerate(messages):
        _check_message(message, f"{place}/{index}")
    return any(message["role"] in _INSTRUCTIONS for message in messages)


def check_params(params: dict[str, Any], place: str, *, allowed: Collection[str] = ()) -> None:
    """Validate params.

    Args:
        params: the params.
        place: their JSON pointer.
        allowed: the reserved params that the caller may set.

    Raises:
        InvalidRequest: the first param that breaks a rule, and the rule.

    """
    _NAMES.check(params, place, allowed)
    check_tier(params, place)
    converted(params, ParamsOfResponse if allowed else KnownParams, place)
    check_tools(params.get("tools") or [], f"{place}/tools")


def parse_body(body: Mapping[str, Any], place: str, /) -> dict[str, Any]:
    """Validate the body of POST /chat/completions, and return what is queued of it.

    Raises:
        InvalidRequest: the first field that breaks a rule, and the rule.

    """
    params = without_nulls(body, IGNORED)
    messages = converted({"messages": params.pop("messages", None)}, Messages, place).messages
    check_messages(messages, f"{place}/messages")
    check_params(params, place, allowed=KEPT_IN_RESPONSE)
    return {"messages": messages, **params}


def _check_message(message: Mapping[str, Any], place: str) -> None:
    if message.get("role") not in ROLES:
        raise InvalidRequest(f"must be one of {', '.join(ROLES)}", pointer=f"{place}/role", code="invalid_value")
    content = message.get("content")
    if message["role"] == "tool" and not _is_name(message.get("tool_call_id")):
        raise InvalidRequest(
            "must be the id of the assistant's tool call that this message answers",
            pointer=f"{place}/tool_call_id",
            code="invalid_value",
        )
    if content is None and message["role"] == "assistant":
        return  # a response that only calls tools
    if content == "" and (message["role"] == "tool" or message.get("tool_calls")):
        return  # a tool may return nothing; a response may only call tools
    is_text = isinstance(content, str) and bool(content.strip())
    is_parts = isinstance(content, list) and bool(content) and all(isinstance(part, dict) for part in content)
    if not is_text and not is_parts:
        raise InvalidRequest(
            "must be text that is not blank, or a list of content parts",
            pointer=f"{place}/content",
            code="blank_text" if content == "" else "invalid_value",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


_NAMES: Final = ParamNames(KnownParams.__struct_fields__, RESERVED_PARAMS)
