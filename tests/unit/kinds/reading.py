"""Read what a provider's endpoint answers, through the upstream module of a kind, in virtual time."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

from common.domain.request import Kind
from common.domain.task import Answer
from common.kinds.registry import registration_of
from tests.unit.worker.virtual_time import VirtualTimeLoop

SIZES = (1, 7, 100_000)
"""How many bytes come at a time."""


def sse(*events: Mapping[str, Any]) -> bytes:
    """Write events as servers of responses do: each with its name."""
    lines = (f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
    return "".join(lines).encode()


def answer_to(
    kind: Kind, request: Mapping[str, Any], data: bytes, *, size: int = 100_000, pieces: list[str] | None = None
) -> Answer:
    """Read the body of a response to a request, which comes in chunks of so many bytes."""

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    async def read() -> Answer:
        heard = [] if pieces is None else pieces
        return await registration_of(kind).upstream.read(request, chunks(), heard.append, ends_at=math.inf)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(read())


def shown(kind: Kind, answer: Answer) -> dict[str, Any]:
    """Return the response of an answer as a task shows it, after it was stored as JSON."""
    views = registration_of(kind).views
    return views.full_response(json.loads(json.dumps(views.stored_response(answer))), answer.text)
