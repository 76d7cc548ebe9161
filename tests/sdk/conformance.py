"""Validate response bodies against the types of OpenAI's SDK, strictly.

The SDK itself accepts any JSON: it fills in missing fields and keeps unknown ones. These checks do not.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


class NotConforming(AssertionError):
    """The body has fields that its type does not have."""


def conforming[Model: BaseModel](shape: type[Model], body: str | bytes) -> Model:
    """Return a body as its type; all required fields are there, each of its type, and no others.

    Raises:
        pydantic.ValidationError: a field is missing or of another type.
        NotConforming: a field is unknown; the error names all of them.

    """
    model = shape.model_validate_json(body, strict=True)
    if unknown := sorted(_unknown_fields(model, "")):
        raise NotConforming(f"{shape.__name__} does not have: {', '.join(unknown)}")
    return model


def check(*objects: BaseModel) -> None:
    """Check objects that the SDK has parsed, in the form in which they arrived."""
    for each in objects:
        conforming(type(each), each.model_dump_json(exclude_unset=True, by_alias=True, warnings=False))


def _unknown_fields(value: Any, place: str) -> Iterator[str]:  # noqa: ANN401  # any part of a body
    if isinstance(value, BaseModel):
        yield from (f"{place}/{name}" for name in value.model_extra or ())
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _unknown_fields(each, f"{place}/{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _unknown_fields(each, f"{place}/{index}")
