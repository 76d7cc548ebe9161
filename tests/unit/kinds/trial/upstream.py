"""Call the trial endpoint, whose answer is the body of its response."""

from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any

from common.domain.task import Answer

PATH = "trials"


def encode(model: str, body: Mapping[str, Any], /) -> bytes:
    return f"{model} {body['size']}".encode()


async def read(
    _body: Mapping[str, Any], chunks: AsyncIterable[bytes], on_text: Callable[[str], None], /, *, ends_at: float
) -> Answer:
    text = b"".join([chunk async for chunk in chunks]).decode()
    on_text(text)
    return Answer(f"{text} until {ends_at}", "stop")
