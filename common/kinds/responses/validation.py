"""Validate the body of POST /responses."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from common.api.conversion import converted
from common.domain.errors import InvalidRequest
from common.kinds.params import MOST_TOOLS, RESERVED, ParamNames, check_tier, check_tools, without_nulls

type Count = Annotated[int, Meta(ge=1, le=10_000_000)]


class KnownParams(Struct, frozen=True, kw_only=True):
    """The params whose type or range is known. The model validates all others.

    Source: https://platform.openai.com/docs/api-reference/responses/create
    """

    input: str | Annotated[list[dict[str, Any]], Meta(min_length=1)]
    instructions: str | list[dict[str, Any]] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    max_output_tokens: Count | None = None
    max_tool_calls: Count | None = None
    include: list[str] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: Literal["auto", "default"] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None


IGNORED: Final = frozenset({"model", "stream", "stream_options", "store", "background"})
"""The fields of a body that Sluice reads or sets itself."""

_NOT_STORED: Final = "refers to what the provider has stored; Sluice stores nothing there, so send all of the `input`"
_TEMPLATE: Final = "refers to a prompt that the provider has stored, whose tools and prices this service cannot check"

UNSUPPORTED_PARAMS: Final[Mapping[str, str]] = {
    "previous_response_id": _NOT_STORED,
    "conversation": _NOT_STORED,
    "prompt": _TEMPLATE,
}
"""The params of OpenAI's endpoint that are not supported, and why."""

ROLES: Final = ("system", "developer", "user", "assistant")
_REFERENCE: Final = "item_reference"

_NAMES: Final = ParamNames((*KnownParams.__struct_fields__, *IGNORED, *UNSUPPORTED_PARAMS), RESERVED)


def parse_body(body: Mapping[str, Any], place: str, /) -> dict[str, Any]:
    """Validate the body of POST /responses, and return what is queued of it.

    Raises:
        InvalidRequest: the first field that breaks a rule, and the rule.

    """
    params = without_nulls(body, IGNORED)
    _NAMES.check(params, place)
    for name in filter(UNSUPPORTED_PARAMS.__contains__, params):
        raise InvalidRequest(UNSUPPORTED_PARAMS[name], pointer=f"{place}/{name}", code="unsupported_parameter")
    if "input" not in params:
        raise InvalidRequest("is missing", pointer=f"{place}/input", code="invalid_value")
    check_tier(params, place)
    known = converted(params, KnownParams, place)
    if isinstance(known.input, str):
        if not known.input.strip():
            raise InvalidRequest("must not be blank", pointer=f"{place}/input", code="blank_text")
    else:
        _check_items(known.input, f"{place}/input")
    check_tools(known.tools or [], f"{place}/tools")
    return params


def _check_items(items: Sequence[Mapping[str, Any]], place: str) -> None:
    for index, item in enumerate(items):
        if item.get("type") == _REFERENCE or (item.keys() == {"id"}):
            raise InvalidRequest(_NOT_STORED, pointer=f"{place}/{index}", code="unsupported_parameter")
        if item.get("type", "message") != "message":
            continue
        if item.get("role") not in ROLES:
            raise InvalidRequest(
                f"must be one of {', '.join(ROLES)}", pointer=f"{place}/{index}/role", code="invalid_value"
            )
        if not isinstance(item.get("content"), str | list):
            raise InvalidRequest(
                "must be text or a list of content parts", pointer=f"{place}/{index}/content", code="invalid_value"
            )
