"""Put the tool calls of an answer together from the pieces that a stream brings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.tasks import ToolCall, ToolKind
from common.work.text import paired


@dataclass(slots=True)
class _Parts:
    call_id: str = ""
    kind: ToolKind = ToolKind.FUNCTION
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ToolCallParts:
    """Collect the pieces by the index of their call; arguments are joined once, at the end."""

    def __init__(self) -> None:
        self._parts: dict[int, _Parts] = {}

    def add(self, pieces: object) -> bool:
        """Take the `tool_calls` of one delta or message, and say whether there were any.

        Raises:
            TypeError, ValueError, AttributeError: they are not what the protocol says.

        """
        if not pieces:
            return False
        if not isinstance(pieces, list):
            raise TypeError
        for place, piece in enumerate(pieces):
            self._take(piece, place)
        return True

    def _take(self, piece: Mapping[str, Any], place: int) -> None:
        index = piece.get("index", place)  # an answer that is not streamed has no indexes
        if type(index) is not int:
            raise TypeError
        parts = self._parts.setdefault(index, _Parts())
        if kind := piece.get("type"):
            parts.kind = ToolKind(kind)
        said = piece.get(parts.kind) or {}
        parts.call_id = _grown(parts.call_id, piece.get("id"))
        parts.name = _grown(parts.name, said.get("name"))
        arguments = said.get(parts.kind.argument) or ""
        if isinstance(arguments, dict):
            raise TypeError
        parts.arguments.append(str(arguments))

    def finish(self) -> tuple[ToolCall, ...]:
        """Join the calls, in their order.

        Raises:
            ValueError: one of them names no tool.

        """
        calls = tuple(
            ToolCall(parts.call_id, parts.name, paired("".join(parts.arguments)), parts.kind)
            for _, parts in sorted(self._parts.items())
        )
        if not all(call.name for call in calls):
            raise ValueError
        return calls


def _grown(known: str, piece: object) -> str:
    # Most providers send a name whole and once; some repeat it with every piece, and one could send it in pieces.
    text = str(piece or "")
    return known if text == known else known + text
