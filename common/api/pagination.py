"""Cut an answer to what Lambda can carry."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import batched
from typing import Any, Final

from common.api.serializers import Body, show_answer, show_too_large
from common.domain.request import Kind
from common.domain.task import Answer, ToolCall
from common.kinds.registry import registration_of

MOST_BYTES: Final = 5_500_000
"""Of the 6 MB (6,291,556 bytes) that Lambda answers with; the rest is for headers and the link to what did not fit."""

MOST_ANSWER_BYTES: Final = 5_000_000
"""Of one model answer as it travels. A larger one is not kept; what is below MOST_BYTES is for the rest of its task."""

MOST_BYTES_PER_CHARACTER: Final = 14
"""An emoji is two escapes of six bytes in JSON, each with a backslash more in the JSON around it."""

MOST_PARTIAL_CHARACTERS: Final = MOST_ANSWER_BYTES // MOST_BYTES_PER_CHARACTER
"""Of the text so far of a running task: whatever its characters are, it travels."""

_TOOL_CALL_BYTES: Final = 200
"""Of the names of a tool call's fields, at most."""

CHUNK: Final = 20
"""Tasks read at once, results and all: more of the largest, 5 MB each, would not fit our memory."""


async def fill_page[Item](
    items: Sequence[Item],
    show: Callable[[Sequence[Item]], Awaitable[Sequence[Body]]],
    *,
    beside: Mapping[str, Any] | None = None,
) -> list[Body]:
    """Show the first of some items, as many as fit one answer, and at least one: what is left needs another answer.

    `show` gives a body for each of the items it is handed, in their order; `beside` is what else the answer holds. An
    item that no answer has room for is shown without what makes it so large, see `fitting`.
    """
    shown: list[Body] = []
    most = room = MOST_BYTES - size_of(beside or {})
    for chunk in batched(items, CHUNK, strict=False):
        for body in await show(chunk):
            fits, size = _fitting(body, most)
            room -= size
            if room < 0 and shown:
                return shown
            shown.append(fits)
    return shown


def fitting(body: Body) -> Body:
    """Return a task's body, or its short fields and an error where it is too large for an answer of its own."""
    return _fitting(body, MOST_BYTES)[0]


def is_readable(kind: Kind, answer: Answer) -> bool:
    """Return whether an answer to such a request is small enough to be shown, together with the rest of its task."""
    characters = len(answer.text) + len(answer.finish_reason or "") + sum(map(_characters_of, answer.tool_calls))
    response = json.dumps(answer.response)
    # Most answers are far from it, whatever their characters are.
    size = characters * MOST_BYTES_PER_CHARACTER + len(answer.tool_calls) * _TOOL_CALL_BYTES + 2 * len(response)
    if size < MOST_ANSWER_BYTES // 2:
        return True
    if answer.response is not None:
        full = registration_of(kind).views.full_response(answer.response, answer.text)
        return size_of({"response": full}) <= MOST_ANSWER_BYTES
    return size_of(show_answer(answer)) <= MOST_ANSWER_BYTES


def cut(text: str, most: int) -> str:
    """Return as much of the beginning of a text as travels in so many bytes, or a little less."""
    count = len(text)
    while (size := size_of({"": text[:count]})) > most:
        count = min(count - 1, count * most // size)
    return text[:count]


def size_of(body: Mapping[str, Any]) -> int:
    """Weigh JSON as it travels: as a string in the JSON of Lambda's answer, with a backslash before each quote."""
    text = json.dumps(body)
    return len(text) + text.count('"') + text.count("\\") + 2


def _characters_of(call: ToolCall) -> int:
    return len(call.call_id) + len(call.name) + len(call.arguments)


def _fitting(body: Body, most: int) -> tuple[Body, int]:
    size = size_of(body)
    if size <= most:
        return body, size
    short = show_too_large(body)
    return short, size_of(short)
