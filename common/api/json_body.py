"""Read a request's body as strict JSON.

`json.loads` takes lone surrogates, NaN, 1e999, repeated keys and numbers of any length, any of which would break SQS,
Redis or the model later on. Each is refused here, with its JSON pointer.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from common.domain.errors import CallerError, InvalidItems, InvalidRequest

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other; a JSON schema in `params.response_format` rarely passes 20."""

MAX_ERRORS: Final = 20
"""Faults named in one answer: enough to see a pattern."""

MAX_DIGITS: Final = 19
"""Digits of a whole number: 64 bits, as far as a `seed` goes."""

MAX_SHOWN: Final = 64
"""Characters of a caller's own name for a field that are shown again."""

_TOO_DEEP: Final = f"must not be nested deeper than {MAX_DEPTH} levels"
_NO_NUMBER: Final = f"must be a finite number, a whole one of at most {MAX_DIGITS} digits"
_NO_TEXT: Final = "must be Unicode text: it contains an unpaired surrogate"


def read_body(body: str | None, *, is_base64: bool) -> object:
    """Return the JSON value of a body as API Gateway passes it.

    Raises:
        InvalidRequest, InvalidItems: it is not JSON, or contains unsafe values.

    """
    document = _parse(_text(body or "", is_base64=is_base64))
    refuse_all(islice(_faults("", document), MAX_ERRORS))
    return document


def refuse_all(faults: Iterable[CallerError]) -> None:
    """Raise the faults, if there are any: one as itself, several as InvalidItems."""
    errors = list(faults)
    if len(errors) > 1:
        raise InvalidItems(errors)
    for error in errors:
        raise error


def pointer_to(parent: str, name: str | int) -> str:
    """Extend a JSON pointer (RFC 6901); a long name is cut, for it may be a prompt in the wrong place."""
    text = str(name)
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return f"{parent}/{shown.replace('~', '~0').replace('/', '~1')}"


class _Repeating(dict[str, Any]):
    """An object with a repeated name."""


def _text(body: str, *, is_base64: bool) -> str:
    if not is_base64:
        return body
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest("the body must be JSON in UTF-8", code="not_utf8") from None


def _parse(text: str) -> object:
    if not text.strip():
        raise InvalidRequest("the body must be a JSON object; it is empty", code="empty_body")
    try:
        return json.loads(text, parse_int=_int, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        # Not the error's own text, and `from None`: they quote the body.
        raise InvalidRequest(
            f"the body is not JSON: see line {error.lineno}, column {error.colno}", code="malformed_json"
        ) from None
    except RecursionError:
        raise InvalidRequest(_TOO_DEEP, code="too_deep") from None


def _int(digits: str) -> int | float:
    # Python refuses to read 5,000 digits, and reads 4,000 slowly. Infinity is refused below, by its place.
    return int(digits) if len(digits.lstrip("-")) <= MAX_DIGITS else math.inf


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _Repeating(fields)


def _faults(place: str, value: object, depth: int = 1) -> Iterator[InvalidRequest]:
    if isinstance(value, str):
        if not _is_text(value):
            yield InvalidRequest(_NO_TEXT, pointer=place, code="lone_surrogate")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield InvalidRequest(_NO_NUMBER, pointer=place, code="number_out_of_range")
    elif isinstance(value, dict | list):
        # This also bounds the recursion: the parser may have followed a body far deeper.
        if depth > MAX_DEPTH:
            yield InvalidRequest(_TOO_DEEP, pointer=place, code="too_deep")
            return
        if isinstance(value, _Repeating):
            yield InvalidRequest("must not name a field twice", pointer=place, code="repeated_field")
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(name, str) and not _is_text(name):
                yield InvalidRequest(_NO_TEXT, pointer=place, code="lone_surrogate")
            else:
                yield from _faults(pointer_to(place, name), item, depth + 1)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
