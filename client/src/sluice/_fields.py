"""Read the fields of a response with their types checked: a broken server must not give a str where a list belongs.

Each function returns None, or an empty value, if the field is missing or null.

Raises:
    UnreadableAnswerError: the field has another type, or the body is not an object.

"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, NoReturn

from sluice._exceptions import UnreadableAnswerError

type Json = Mapping[str, Any]


def required_text(body: Json, name: str) -> str:
    """Return a text that must be there."""
    value = text(body, name)
    if value is None:
        raise UnreadableAnswerError(f"The response has no {name}. Check the URL.")
    return value


def text(body: Json, name: str) -> str | None:
    """Return a text."""
    value = _get(body, name)
    return value if value is None or isinstance(value, str) else _reject(name, "a string")


def whole(body: Json, name: str) -> int:
    """Return a whole number, 0 if it is missing."""
    value = _get(body, name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        _reject(name, "a number")
    return int(value)


def flag(body: Json, name: str) -> bool:
    """Return a truth value, False if it is missing."""
    value = _get(body, name)
    return value if isinstance(value, bool) else False if value is None else _reject(name, "true or false")


def mapping(body: Json, name: str) -> Json | None:
    """Return an object."""
    value = _get(body, name)
    return value if value is None or isinstance(value, Mapping) else _reject(name, "an object")


def mappings(body: Json, name: str) -> list[Json]:
    """Return a list of objects."""
    return _list(body, name, dict, "objects")


def texts(body: Json, name: str) -> list[str]:
    """Return a list of texts."""
    return _list(body, name, str, "strings")


def counts(body: Json, name: str) -> dict[str, int]:
    """Return an object whose values are whole numbers."""
    values = mapping(body, name) or {}
    return {key: whole(values, key) for key in values}


def time(body: Json, name: str) -> datetime | None:
    """Return an ISO 8601 time."""
    value = text(body, name)
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        _reject(name, "a time")


def usd(body: Json, name: str) -> Decimal | None:
    """Return the US dollars of an object such as `{"usd": "0.001"}`, with every digit."""
    value = (mapping(body, name) or {}).get("usd")
    try:
        amount = None if value is None else Decimal(str(value))
    except InvalidOperation:
        _reject(name, "an amount")
    return amount if amount is None or amount.is_finite() else _reject(name, "an amount")


def _get(body: Json, name: str) -> Any:  # noqa: ANN401 - JSON
    # The annotation is a promise of the caller's; the body is what a server sent.
    if not isinstance(body, Mapping):
        raise UnreadableAnswerError("The response has a value that is not an object. Check the URL.")
    return body.get(name)


def _list(body: Json, name: str, kind: type, items: str) -> list[Any]:
    value = _get(body, name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, kind) for each in value):
        _reject(name, f"a list of {items}")
    return value


def _reject(name: str, kind: str) -> NoReturn:
    raise UnreadableAnswerError(f"The response has a {name} that is not {kind}. Check the URL.")
