"""Validate the body of a chat request: its messages, and its params.

Some params are reserved: Sluice sets them itself, or the price table has no price for them. Some providers match the
names of params without regard to case or underscores: they would obey `N` or `serviceTier`, which a check by the exact
name accepts. Names are compared in one canonical form, and only the documented spelling is accepted.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from common.api.conversion import converted
from common.api.json_body import pointer_to
from common.domain.errors import InvalidRequest
from common.domain.task import ToolKind

type Count = Annotated[int, Meta(ge=1, le=10_000_000)]
type Penalty = Annotated[float, Meta(ge=-2, le=2)]

MOST_CHOICES: Final = 128
"""Choices of one request, at most: OpenAI's own limit."""


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
    tools: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


PRICED_TIERS: Final = ("auto", "default")
"""The service tiers that the price table knows: it has one price a model."""

_OURS: Final = "is set by Sluice itself"
_TEXT_ONLY: Final = "is not supported: Sluice keeps one response of text and tool calls"
_BY_TOOLS: Final = "is deprecated; use `tools` and `tool_choice`"
_SDK: Final = "is not a parameter of the model"
_FEE: Final = "makes the provider search, at a fee that `usage` does not report and this service cannot price"
_ONE_MODEL: Final = "names other models; set one `model` next to `params`"

KEPT_IN_RESPONSE: Final = frozenset({"n", "logprobs", "top_logprobs"})
"""The reserved params whose effect only the whole response shows."""

RESERVED_PARAMS: Final[Mapping[str, str]] = {
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
    # The model's client would take these for itself: a header of the caller's could replace our key.
    "extra_headers": _SDK,
    "extra_query": _SDK,
    "extra_body": _SDK,
    "timeout": _SDK,
    # Of several providers: OpenAI, xAI, Qwen and OpenRouter.
    "web_search_options": _FEE,
    "search_parameters": _FEE,
    "enable_search": _FEE,
    "plugins": _FEE,
    # Of routers such as OpenRouter and LiteLLM: they lead past the models that a key may ask, and past their prices.
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
    for name in params:
        _check_name(name, place, allowed)
    tier = params.get("service_tier")
    if isinstance(tier, str) and tier not in PRICED_TIERS:
        raise InvalidRequest(
            f"must be {' or '.join(PRICED_TIERS)}: this service has no prices of other tiers",
            pointer=f"{place}/service_tier",
            code="unpriced_param",
        )
    converted(params, KnownParams, place)
    for index, tool in enumerate(params.get("tools") or []):
        _check_tool(tool, f"{place}/tools/{index}")


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


def _check_name(name: str, place: str, allowed: Collection[str]) -> None:
    known = _SPELLINGS.get(_canonical(name), name)
    if known in RESERVED_PARAMS and known not in allowed:
        raise InvalidRequest(RESERVED_PARAMS[known], pointer=pointer_to(place, name), code="reserved_param")
    if known != name:
        raise InvalidRequest(
            f"is {known} in another spelling; write {known}", pointer=pointer_to(place, name), code="invalid_value"
        )


def _check_tool(tool: Mapping[str, Any], place: str) -> None:
    for name, kind in tool.items():
        if _canonical(name) == "type" and not (isinstance(kind, str) and kind in set(ToolKind)):
            raise InvalidRequest(
                f"must be {' or '.join(ToolKind)}: the provider runs other tools at a fee that `usage` does not report",
                pointer=pointer_to(place, name),
                code="unpriced_param",
            )


def _canonical(name: str) -> str:
    """Fold the case, width, underscores and spaces of a name, and whatever else is neither a letter nor a digit."""
    text = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return "".join(each for each in text.casefold() if each.isalnum())


_SPELLINGS: Final = {_canonical(name): name for name in (*KnownParams.__struct_fields__, *RESERVED_PARAMS)}
