"""Validate the body of POST /embeddings."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from common.api.conversion import converted
from common.api.pagination import MOST_ANSWER_BYTES
from common.domain.errors import InvalidRequest, RequestTooLarge
from common.kinds.embeddings.joint import MOST_ITEMS
from common.kinds.embeddings.views import BASE64
from common.kinds.params import RESERVED, ParamNames, without_nulls

MOST_DIMENSIONS: Final = 16_384
"""Numbers of one embedding, at most: more than any model makes."""

DEFAULT_DIMENSIONS: Final = 1_536
"""What is expected of an embedding whose request says nothing of it."""

_LARGEST_TOKEN: Final = 2**31 - 1
_BASE64_BYTES: Final = 16 / 3
"""Bytes of a number in base64, four of which are 16 characters for three numbers."""
_FLOAT_BYTES: Final = 17
"""Bytes of a number in JSON, at most: a sign, nine digits, a point, an exponent, and a comma with a space."""
_ITEM_BYTES: Final = 80
"""Bytes of an embedding beside its numbers."""


class KnownParams(Struct, frozen=True, kw_only=True):
    """The params whose type or range is known. The model validates all others.

    Source: https://platform.openai.com/docs/api-reference/embeddings/create
    """

    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=MOST_DIMENSIONS)] | None = None
    user: str | None = None


IGNORED: Final = frozenset({"model", "stream", "stream_options"})
"""The fields of a body that Sluice reads or sets itself."""

_NAMES: Final = ParamNames((*KnownParams.__struct_fields__, *IGNORED), RESERVED)


def parse_body(body: Mapping[str, Any], place: str, /) -> dict[str, Any]:
    """Validate the body of POST /embeddings, and return what is queued of it.

    Raises:
        InvalidRequest: the first field that breaks a rule, and the rule.
        RequestTooLarge: no response has room for the embeddings of all inputs.

    """
    params = without_nulls(body, IGNORED)
    _NAMES.check(params, place)
    if "input" not in params:
        raise InvalidRequest("is missing", pointer=f"{place}/input", code="invalid_value")
    known = converted(params, KnownParams, place)
    count = _check_input(known.input, f"{place}/input")
    dimensions = known.dimensions or DEFAULT_DIMENSIONS
    each = dimensions * (_BASE64_BYTES if known.encoding_format == BASE64 else _FLOAT_BYTES) + _ITEM_BYTES
    if count * each > MOST_ANSWER_BYTES:
        raise RequestTooLarge(
            f"has {count} inputs; a response has room for {int(MOST_ANSWER_BYTES // each)} of {dimensions} dimensions. "
            f"Send fewer, or set `encoding_format` to {BASE64} or fewer `dimensions`",
            pointer=f"{place}/input",
            code="too_many_inputs",
        )
    return params


def _check_input(given: str | list[Any], place: str) -> int:
    """Check the input in any of its forms, and return the number of embeddings."""
    if isinstance(given, str):
        _check_text(given, place)
        return 1
    if not given:
        raise InvalidRequest("must not be empty", pointer=place, code="invalid_value")
    if type(given[0]) is int:
        _check_tokens(given, place)
        return 1
    if len(given) > MOST_ITEMS:
        raise InvalidRequest(
            f"has {len(given)} inputs; a request takes at most {MOST_ITEMS}", pointer=place, code="invalid_value"
        )
    for index, each in enumerate(given):
        if type(each) is not type(given[0]):
            raise InvalidRequest(
                "must be of one form: all texts, or all arrays of tokens",
                pointer=f"{place}/{index}",
                code="invalid_value",
            )
        if isinstance(each, str):
            _check_text(each, f"{place}/{index}")
        elif isinstance(each, list):
            _check_tokens(each, f"{place}/{index}")
        else:
            raise InvalidRequest("must be text or an array of tokens", pointer=f"{place}/{index}", code="invalid_value")
    return len(given)


def _check_text(text: str, place: str) -> None:
    if not text:
        raise InvalidRequest("must not be empty", pointer=place, code="blank_text")


def _check_tokens(tokens: Sequence[Any], place: str) -> None:
    if not tokens:
        raise InvalidRequest("must not be empty", pointer=place, code="invalid_value")
    for index, token in enumerate(tokens):
        if type(token) is not int or not 0 <= token <= _LARGEST_TOKEN:
            raise InvalidRequest(
                "must be a token: a whole number from 0", pointer=f"{place}/{index}", code="invalid_value"
            )
