"""Call POST /chat/completions, streamed."""

import json
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any

from common.domain.errors import ModelRefused
from common.domain.task import Answer, FailureCode
from common.worker.completion_stream import read_completion

PATH = "chat/completions"
"""The path of the endpoint, behind the base URL."""


def encode(model: str, body: Mapping[str, Any], /) -> bytes:
    """Write the body of the HTTP request; the model and the options of the stream replace the caller's.

    Raises:
        ModelRefused: bad_request, for text that no HTTP body can carry.

    """
    sent = dict(body) | {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    try:
        return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ModelRefused(FailureCode.BAD_REQUEST) from None


async def read(
    body: Mapping[str, Any],  # noqa: ARG001  # the signature of every kind
    chunks: AsyncIterable[bytes],
    on_text: Callable[[str], None],
    /,
    *,
    ends_at: float,
) -> Answer:
    """Read the body of the HTTP response, as `read_completion` does."""
    return await read_completion(chunks, on_text, ends_at=ends_at)
