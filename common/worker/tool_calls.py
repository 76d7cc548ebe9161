"""Assemble the tool calls of an answer from the pieces of a stream, or from a whole message.

Providers identify a call by its index, by its ID, by both or by neither, and some send the same index for every call.
These rules decide which call a piece belongs to:

- A piece with a known ID continues that call.
- A piece with another ID and a name begins a call, also where its index is taken.
- Any other piece continues the latest call of its index, or the latest call where it has no index.
- A piece that names a tool never adds to arguments that are complete: it begins a call.
- The first ID and the first name of a call stay; they are never concatenated.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from common.domain.task import ToolCall, ToolKind
from common.worker.text import paired

_OF_CALL: Final = frozenset({"index", "id", "type", "function", "custom", "name", "arguments", "input"})
_OF_FUNCTION: Final = frozenset({"name", "arguments", "input"})


@dataclass(frozen=True, slots=True)
class _Piece:
    index: int | None
    call_id: str
    kind: ToolKind
    name: str
    arguments: str
    is_whole: bool
    """Whether the arguments came as a JSON value: they are all there are."""
    others: Mapping[str, Any]
    """Fields of the call that the protocol does not have, such as a signature of the model's reasoning."""
    others_of_function: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read one entry of `tool_calls`; raise TypeError or AttributeError where it is none."""
        is_custom = raw.get("type") == ToolKind.CUSTOM or ("custom" in raw and "function" not in raw)
        kind = ToolKind.CUSTOM if is_custom else ToolKind.FUNCTION  # any other type has a function's fields
        function = raw.get(kind) or raw  # some servers leave the inner object out
        index, arguments = raw.get("index"), function.get(kind.argument)
        is_whole = arguments is not None and not isinstance(arguments, str)
        return cls(
            index if type(index) is int else None,
            _text(raw.get("id")),
            kind,
            _text(function.get("name")),
            json.dumps(arguments) if is_whole else arguments or "",
            is_whole,
            {} if function is raw else _others(raw, _OF_CALL),
            _others(function, _OF_CALL if function is raw else _OF_FUNCTION),
        )


@dataclass(slots=True)
class _Call:
    order: int
    kind: ToolKind
    index: int | None
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    size: int = 0
    depth: int = 0
    others: dict[str, Any] = field(default_factory=dict)
    others_of_function: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Return whether the arguments so far are a whole JSON object. Its braces are counted, it is not parsed."""
        return self.size > 0 and self.depth == 0 and self.arguments[-1].rstrip().endswith(("}", "]"))

    def repeats(self, arguments: str) -> bool:
        """Return whether these are the whole arguments again, as some servers send them at the end."""
        return self.is_complete and len(arguments) == self.size and arguments == "".join(self.arguments)

    def add(self, piece: _Piece) -> None:
        """Take a piece of this call."""
        self.call_id = self.call_id or piece.call_id
        self.name = self.name or piece.name
        if piece.others or piece.others_of_function:
            self.others.update(piece.others)
            self.others_of_function.update(piece.others_of_function)
        if piece.is_whole:
            self.arguments, self.size, self.depth = [], 0, 0
        if piece.arguments and not self.repeats(piece.arguments):
            self.arguments.append(piece.arguments)
            self.size += len(piece.arguments)
            self.depth += piece.arguments.count("{") - piece.arguments.count("}")

    def is_followed_by(self, piece: _Piece) -> bool:
        """Return whether a piece with this call's place, or ID, begins the next call."""
        if not piece.name or not self.name:
            return False
        has_new_id = piece.call_id not in {"", self.call_id}
        if piece.name != self.name:
            return has_new_id or self.is_complete
        if has_new_id and self.call_id:
            # The same tool again, unless the server makes a new ID for each piece.
            return self.is_complete or self.size == 0
        return self.is_complete and bool(piece.arguments.strip()) and not self.repeats(piece.arguments)


class ToolCallAccumulator:
    """Collect the pieces of all calls; arguments are joined once, at the end."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}
        self.characters = 0
        """Of all arguments so far."""

    def __bool__(self) -> bool:
        """Return whether there is any call."""
        return bool(self._calls)

    def add(self, raw: object) -> bool:
        """Take the `tool_calls` of one delta or message, and tell whether there were any.

        Raises:
            TypeError, AttributeError: they are not what the protocol says.

        """
        if not raw:
            return False
        if not isinstance(raw, list):
            raise TypeError
        pieces = [_Piece.of(each) for each in raw]
        taken: set[int] = set()
        for place, piece in enumerate(pieces):
            if piece.index is not None:
                call = self._of_index(piece, piece.index)
            elif len(pieces) > 1:
                call = self._of_place(piece, place)
                call = None if id(call) in taken else call
            else:
                call = self._latest(piece)
            if call is None or call.is_followed_by(piece):
                call = self._begin(piece)
            call.add(piece)
            if call.call_id:
                self._by_id[call.call_id] = call
            taken.add(id(call))
            self.characters += len(piece.arguments)
        return True

    def _begin(self, piece: _Piece) -> _Call:
        order = len(self._calls) if piece.index is None else piece.index
        call = _Call(order, piece.kind, piece.index)
        self._calls.append(call)
        if piece.index is not None:
            self._by_index[piece.index] = call
        return call

    def _of_index(self, piece: _Piece, index: int) -> _Call | None:
        """Find the call that a piece with an index belongs to, or that it follows; None where it is a new one."""
        known = self._by_id.get(piece.call_id)
        if known and known.index == index:
            return known
        if call := self._by_index.get(index):
            return call
        # Some servers count the pieces, not the calls.
        return None if piece.name or not self._calls else known or self._calls[-1]

    def _of_place(self, piece: _Piece, place: int) -> _Call | None:
        """Do the same for one of several pieces without an index: their places may stand for it."""
        if known := self._by_id.get(piece.call_id):
            return known
        call = self._calls[place] if place < len(self._calls) else None
        return call if call and piece.name in {"", call.name} else None

    def _latest(self, piece: _Piece) -> _Call | None:
        """Do the same for a piece alone without an index."""
        if known := self._by_id.get(piece.call_id):
            return known
        call = self._calls[-1] if self._calls else None
        is_named_anew = call and piece.name and not piece.call_id and piece.name != call.name
        return None if is_named_anew else call

    def finish(self) -> tuple[ToolCall, ...]:
        """Join the calls, in their order.

        Raises:
            ValueError: one of them names no tool.

        """
        calls = tuple(
            ToolCall(call.call_id, call.name, paired("".join(call.arguments)), call.kind) for call in self._in_order()
        )
        if not all(call.name for call in calls):
            raise ValueError
        return calls

    def shown(self) -> list[dict[str, Any]]:
        """Return the calls as `message.tool_calls` has them, with the fields that the protocol does not have."""
        return [
            {
                "id": call.call_id,
                "type": call.kind.value,
                call.kind.value: {
                    "name": call.name,
                    call.kind.argument: paired("".join(call.arguments)),
                    **call.others_of_function,
                },
                **call.others,
            }
            for call in self._in_order()
        ]

    def _in_order(self) -> list[_Call]:
        named = [call for call in self._calls if call.name or call.call_id or call.arguments]
        return sorted(named, key=lambda call: call.order)


def _others(raw: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    return {name: value for name, value in raw.items() if name not in known and value is not None}


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise TypeError
    return str(value)
