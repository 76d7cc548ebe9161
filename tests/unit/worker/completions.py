"""Chat completions as servers send them, and the reader of them in virtual time."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from common.domain.errors import ModelError
from common.domain.task import Answer
from common.worker.completion_stream import read_completion
from tests.unit.worker.virtual_time import VirtualTimeLoop

DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

type Part = bytes | float | Exception
"""Bytes that come, seconds in which nothing comes, or what the connection raises."""

SILENCE = math.inf
"""The connection stays open, and nothing comes any more."""


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(finish: object = None, **fields: object) -> bytes:
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


def piece(content: object, *, finish: object = None, **fields: object) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": content}, "finish_reason": finish, **fields}])


ROLE, HELLO, END = delta(role="assistant", content=""), piece("Hello"), delta("stop")
USAGE = event(choices=[], usage=COUNTS)


def streamed(message: dict[str, Any], finish: object = "stop", usage: object = None) -> bytes:
    """Send a message as a stream."""
    return ROLE + delta(**message) + delta(finish) + event(choices=[], usage=usage) + DONE


def whole(message: dict[str, Any], finish: object = "stop", usage: object = None) -> bytes:
    """Send a message as a body of JSON."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()


type Send = Callable[..., bytes]

both_ways = pytest.mark.parametrize("send", [streamed, whole])
"""The provider streams, or it does not: the answer is the same."""


def answer_in(*parts: Part, ends_at: float = math.inf, pieces: list[str] | None = None) -> Answer:
    """Read what a connection brings."""
    return timed(*parts, ends_at=ends_at, pieces=pieces)[0]


def timed(*parts: Part, ends_at: float = math.inf, pieces: list[str] | None = None) -> tuple[Answer, float]:
    """Read what a connection brings, and tell how many seconds that took."""
    heard = [] if pieces is None else pieces
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        answer = runner.run(_within(ends_at, read_completion(sent(parts), heard.append, ends_at=ends_at)))
        return answer, runner.get_loop().time()


def error_in(*parts: Part) -> ModelError:
    """Return how reading what a connection brings fails."""
    with pytest.raises(ModelError) as caught:
        answer_in(*parts)
    return caught.value


async def _within[T](ends_at: float, call: Awaitable[T]) -> T:
    async with asyncio.timeout_at(None if ends_at == math.inf else ends_at):
        return await call


async def sent(parts: tuple[Part, ...]) -> AsyncIterator[bytes]:
    for part in parts:
        match part:
            case bytes():
                yield part
            case Exception():
                raise part
            case _ if part == SILENCE:
                await asyncio.Event().wait()
            case _:
                await asyncio.sleep(part)
