"""Generate a JSON value that matches a schema, for the stand-in model's JSON responses and tool calls.

It supports the parts of JSON Schema that demos and tests need: types, properties, items, enum, const, anyOf, $ref and
number limits. The same schema and words always give the same value.
"""

from collections.abc import Sequence
from typing import Any, Final

_DEEPEST: Final = 8
"""Maximum nesting; a schema may be recursive."""


def value_of(schema: dict[str, Any], words: Sequence[str]) -> Any:  # noqa: ANN401  # any JSON value
    """Return a matching value; its strings are made of the words."""
    return _value(schema, schema, " ".join(words) or "text", 0)


def _value(schema: Any, root: dict[str, Any], text: str, depth: int) -> Any:  # noqa: ANN401, C901, PLR0911  # a case a line
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        return _value(_found(root, reference), root, text, depth + 1)
    for choices in ("anyOf", "oneOf", "allOf"):
        if schema.get(choices):
            return _value(schema[choices][0], root, text, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            fields = schema.get("properties") or {}
            return {name: _value(field, root, text, depth + 1) for name, field in fields.items()}
        case "array":
            count = max(1, schema.get("minItems", 1))
            return [_value(schema.get("items") or {}, root, text, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return max(schema.get("minimum", 0), min(schema.get("maximum", 7), 7))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text[: schema.get("maxLength", len(text))]


def _found(root: dict[str, Any], reference: str) -> Any:  # noqa: ANN401  # any JSON value
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if step and isinstance(found, dict) else found
    return found
