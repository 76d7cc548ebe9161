"""Detect breaking changes between two OpenAPI descriptions.

Requests and responses are compared in opposite directions. A request schema may only become wider, and a response
schema may only become narrower: a new required field breaks senders, and a field that is no longer required breaks
readers. In both directions a removal (of a path, method, parameter, field, enum value, status, content type or header)
is a breaking change. An addition is not: callers must ignore unknown fields and values.

Only the parts of OpenAPI and JSON Schema that tools.openapi writes are supported. A change of any other keyword that is
compared for equality (EXACT) is a breaking change.
"""

from collections.abc import Iterator
from typing import Any, Final

type Node = dict[str, Any]

LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
"""Lower bounds: raising one is a breaking change of a request."""

MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
"""Upper bounds: lowering one is a breaking change of a request."""

EXACT: Final = ("pattern", "format", "propertyNames", "style", "explode")
"""Keywords compared for equality: a request may only drop one, and a response may only add one."""

_CHOICES: Final = ("anyOf", "oneOf")
_ANY: Final[Node] = {}


def breaks(old: Node, new: Node) -> list[str]:
    """Return a sentence for each change that breaks a caller of the old description, in its order."""
    return list(_Comparison(old, new).paths())


class _Comparison:
    """Walk two descriptions in parallel."""

    def __init__(self, old: Node, new: Node) -> None:
        self._old, self._new = old, new
        self._under_way: set[tuple[int, int, bool]] = set()

    def paths(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method, old in methods.items():
                at = f"{method.upper()} {path}"
                new = self._new["paths"].get(path, {}).get(method)
                if new is None:
                    yield f"{at} is gone"
                    continue
                if old.get("operationId") != new.get("operationId"):
                    yield f"{at} has another operationId, by which clients are generated"
                if old.get("security") != new.get("security") and new.get("security") != []:
                    yield f"{at} asks for another authorization"
                yield from self._parameters(at, old, new)
                yield from self._body(at, old, new)
                yield from self._answers(at, old, new)

    def _parameters(self, at: str, old: Node, new: Node) -> Iterator[str]:
        before, after = (
            {(each["in"], each["name"]): each for each in operation.get("parameters", [])} for operation in (old, new)
        )
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, _ANY).get("required"):
                yield f"{at} requires the parameter {key[1]}"
        for key, parameter in before.items():
            if key not in after:
                yield f"{at} has no parameter {key[1]}"
                continue
            where = f"{at}, parameter {key[1]}"
            yield from self._exactly(where, parameter, after[key], sent=True)
            yield from self._schema(where, parameter.get("schema", _ANY), after[key].get("schema", _ANY), sent=True)

    def _body(self, at: str, old: Node, new: Node) -> Iterator[str]:
        before, after = old.get("requestBody", _ANY), new.get("requestBody", _ANY)
        if after.get("required") and not before.get("required"):
            yield f"{at} requires a body"
        yield from self._content(f"{at}, body", before, after, sent=True)

    def _answers(self, at: str, old: Node, new: Node) -> Iterator[str]:
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                yield f"{at} never answers {status}"
                continue
            before, after = _found(self._old, answer), _found(self._new, new["responses"][status])
            for header in before.get("headers", _ANY).keys() - after.get("headers", _ANY).keys():
                yield f"{at}, {status} has no header {header}"
            yield from self._content(f"{at}, {status}", before, after, sent=False)

    def _content(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        for kind, media in old.get("content", _ANY).items():
            if kind not in new.get("content", _ANY):
                yield f"{at} is no {kind}"
            else:
                after = new["content"][kind]
                yield from self._schema(at, media.get("schema", _ANY), after.get("schema", _ANY), sent=sent)

    def _schema(self, at: str, old: Any, new: Any, *, sent: bool) -> Iterator[str]:  # noqa: ANN401  # bool or object
        before, after = _found(self._old, old), _found(self._new, new)
        pair = (id(before), id(after), sent)
        if pair in self._under_way:  # a schema that contains itself
            return
        self._under_way.add(pair)
        try:
            if any(choice in side for side in (before, after) for choice in _CHOICES):
                yield from self._choices(at, before, after, sent=sent)
            else:
                yield from self._single(at, before, after, sent=sent)
        finally:
            self._under_way.discard(pair)

    def _choices(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        before, after = _branches(old), _branches(new)
        needed, given = (before, after) if sent else (after, before)
        for number, branch in enumerate(needed):
            pairs = ((branch, each) if sent else (each, branch) for each in given)
            if all(any(True for _ in self._schema(at, *pair, sent=sent)) for pair in pairs):
                yield f"{at}: choice {number} of {len(needed)} {'is no longer taken' if sent else 'is a new kind'}"

    def _single(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        wide, narrow = (new, old) if sent else (old, new)
        if _types(wide) and not (_types(narrow) and _types(narrow) <= _types(wide)):
            yield f"{at}: the type was {_shown(_types(old))} and is {_shown(_types(new))}"
        yield from self._values(at, old, new, sent=sent)
        yield from self._limits(at, old, new, sent=sent)
        yield from self._exactly(at, old, new, sent=sent)
        yield from self._fields(at, old, new, sent=sent)
        if "items" in old or "items" in new:
            yield from self._schema(f"{at}[]", old.get("items", _ANY), new.get("items", _ANY), sent=sent)

    def _values(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        before, after = _values_of(old), _values_of(new)
        if before is None:
            if after is not None and sent:
                yield f"{at} takes only {_shown(after)}"
        elif after is None:
            if not sent:
                yield f"{at} may be any value"
        elif gone := [value for value in before if value not in after]:
            yield f"{at} is never {_shown(gone)}"

    def _limits(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        wide, narrow = (new, old) if sent else (old, new)
        for names, sign in ((LEAST, 1), (MOST, -1)):
            for name in names:
                if name in wide and (name not in narrow or narrow[name] * sign < wide[name] * sign):
                    yield f"{at}: {name} was {old.get(name, 'not set')} and is {new.get(name, 'not set')}"

    def _exactly(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        wide, narrow = (new, old) if sent else (old, new)
        for name in EXACT:
            if name in wide and wide[name] != narrow.get(name):
                yield f"{at}: {name} was {old.get(name, 'not set')} and is {new.get(name, 'not set')}"

    def _fields(self, at: str, old: Node, new: Node, *, sent: bool) -> Iterator[str]:
        before, after = old.get("properties", _ANY), new.get("properties", _ANY)
        required, was = set(new.get("required", ())), set(old.get("required", ()))
        if sent:
            yield from (f"{at} requires the field {name}" for name in sorted(required - was))
        else:
            yield from (f"{at} may lack the field {name}" for name in sorted((was - required) & after.keys()))
        for name, schema in before.items():
            if name not in after:
                yield f"{at} has no field {name}"
            else:
                yield from self._schema(f"{at}.{name}", schema, after[name], sent=sent)
        others, others_now = (side.get("additionalProperties", True) for side in (old, new))
        if isinstance(others, dict) and isinstance(others_now, dict):
            yield from self._schema(f"{at}.*", others, others_now, sent=sent)
        elif sent and others is not False and others_now is not True and others != others_now:
            yield f"{at} takes fewer fields of any name"


def _found(document: Node, node: Any) -> Node:  # noqa: ANN401  # bool or object
    """Resolve references; `true` is the schema of any value."""
    while isinstance(node, dict) and "$ref" in node:
        path = node["$ref"].removeprefix("#/").split("/")
        node = document
        for step in path:
            node = node[step]
    return node if isinstance(node, dict) else _ANY


def _branches(schema: Node) -> list[Node]:
    for choice in _CHOICES:
        if choice in schema:
            return list(schema[choice])
    return [schema]


def _types(schema: Node) -> frozenset[str]:
    kind = schema.get("type", ())
    types = frozenset([kind] if isinstance(kind, str) else kind)
    return types | {"integer"} if "number" in types else types


def _values_of(schema: Node) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _shown(values: Any) -> str:  # noqa: ANN401  # JSON values
    return ", ".join(sorted(str(value) for value in values)) or "any"
