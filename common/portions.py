"""Cut an answer to what Lambda can carry."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import batched
from typing import Any, Final

from common.views import Body

MOST_BYTES: Final = 5_500_000
"""Of the 6 MB (6,291,556 bytes) that Lambda answers with; the rest is for headers and the link to what did not fit."""

CHUNK: Final = 100
"""Tasks read at once, results and all: a thousand long results together would not fit our memory."""


async def portion_of[Item](
    items: Sequence[Item],
    show: Callable[[Sequence[Item]], Awaitable[Sequence[Body]]],
    *,
    beside: Mapping[str, Any] | None = None,
) -> list[Body]:
    """Show the first of some items, as many as fit one answer, and at least one: what is left needs another answer.

    `show` gives a body for each of the items it is handed, in their order; `beside` is what else the answer holds.
    """
    shown: list[Body] = []
    room = MOST_BYTES - _size_of(beside or {})
    for chunk in batched(items, CHUNK, strict=False):
        for body in await show(chunk):
            room -= _size_of(body)
            if room < 0 and shown:
                return shown
            shown.append(body)
    return shown


def _size_of(body: Mapping[str, Any]) -> int:
    # As it travels: a string inside the JSON of Lambda's answer, where each quote and backslash gets a backslash more.
    text = json.dumps(body)
    return len(text) + text.count('"') + text.count("\\") + 2
