"""Convert JSON to the type of a body, or name the field and the rule. An error never quotes a value."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from common.api.json_body import pointer_to
from common.domain.errors import InvalidRequest

_FAULT: Final = re.compile(r"(?P<rule>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?")
"""An error of msgspec: "Expected `int` >= 1 - at `$.params.seed`", "Expected … - at `key` in `$.metadata`"."""

_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")


def shaped[Body: msgspec.Struct](
    value: dict[str, Any], kind: type[Body], place: str, objects: Mapping[str, type[msgspec.Struct]] | None = None
) -> Body:
    """Convert an object, and refuse fields that it does not have.

    Args:
        value: the object, as JSON has it.
        kind: its type.
        place: its JSON pointer.
        objects: by the names of fields that hold objects, the types of these: they have no other fields either.

    Raises:
        InvalidRequest: with the first fault, its place and the rule.

    """
    _check_names(value, kind, place)
    for name, type_of_field in (objects or {}).items():
        if isinstance(inner := value.get(name), dict):
            _check_names(inner, type_of_field, f"{place}/{name}")
    return converted(value, kind, place)


def _check_names(value: dict[str, Any], kind: type[msgspec.Struct], place: str) -> None:
    for name in value:
        if name not in kind.__struct_fields__:
            raise unknown_field(place, name, kind.__struct_fields__)


def unknown_field(place: str, name: str, known: Iterable[str]) -> InvalidRequest:
    """Refuse a field of an object that has only the known ones."""
    rule = f"is not a field here; there are {', '.join(known)}"
    return InvalidRequest(rule, pointer=pointer_to(place, name), code="unknown_field")


def converted[Body](value: dict[str, Any], kind: type[Body], place: str) -> Body:
    """Convert an object; `place` is its JSON pointer. Raise InvalidRequest with the rule and the place."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # The rule and the place, and nothing of the value.
        fault = _FAULT.fullmatch(str(error))
        rule, key, path = fault.group("rule", "key", "path") if fault else ("is not valid", None, None)
        steps = "".join(f"/{name or index}" for name, index in _STEP.findall(path or ""))
        raise InvalidRequest(
            f"{rule} as each name" if key else rule, pointer=place + steps, code="invalid_value"
        ) from None
