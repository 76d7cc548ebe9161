"""Call POST /embeddings. The provider is asked for base64, a third of the bytes; either encoding is read."""

import json
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any, Final

from common.domain.errors import ModelError, ModelFailed, ModelRefused
from common.domain.task import Answer, FailureCode
from common.kinds.embeddings.estimates import inputs_of
from common.kinds.embeddings.vectors import encoded
from common.kinds.embeddings.views import BASE64, ENCODING
from common.worker.provider_errors import classify_in_stream
from common.worker.sse import Event, JSONBodyDecoder
from common.worker.usage import UsageAccumulator

PATH: Final = "embeddings"
"""The path of the endpoint, behind the base URL."""

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Bytes of one body, at most. In base64, 2,048 embeddings of 3,072 numbers take 34 MB."""

_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
"""What may come before the body: a byte order mark, and spaces that gateways send to keep the connection alive."""


def encode(model: str, body: Mapping[str, Any], /) -> bytes:
    """Write the body of the HTTP request.

    Raises:
        ModelRefused: bad_request, for text that no HTTP body can carry.

    """
    try:
        sent = {**body, "model": model, ENCODING: BASE64}
        return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ModelRefused(FailureCode.BAD_REQUEST) from None


async def read(
    body: Mapping[str, Any],
    chunks: AsyncIterable[bytes],
    on_text: Callable[[str], None],
    /,
    *,
    ends_at: float,  # noqa: ARG001  # the signature of every kind
) -> Answer:
    """Read the body of the HTTP response; `on_text` is called once, when its first bytes are there.

    Raises:
        ModelError: there is no embedding for each input; its `usage` is what the provider said of it.

    """
    usage = UsageAccumulator()
    try:
        for event in await _events(chunks, on_text):
            if event is None:
                raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
            usage.add(event.get("usage"))
            if error := event.get("error"):
                raise classify_in_stream(error, begun=False)
            if "data" in event:
                return Answer("", None, usage.usage, response=_stored(event, body))
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
    except ModelError as error:
        error.usage = usage.usage
        raise


async def _events(chunks: AsyncIterable[bytes], on_text: Callable[[str], None]) -> list[Event]:
    decoder, size = JSONBodyDecoder(), 0
    async for chunk in chunks:
        piece = chunk if size else chunk.lstrip(_BLANK)
        if not piece:
            continue
        if not size:
            on_text("")
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise ModelRefused(FailureCode.ANSWER_TOO_LARGE)
        if events := decoder.feed(piece):
            return events
    return decoder.finish()


def _stored(response: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response as it is stored: an embedding for each input, in their order."""
    try:
        items = {item.get("index", place): item for place, item in enumerate(response["data"])}
        count = len(response["data"])
        data = [
            {"object": "embedding", **items[index], "index": index, "embedding": encoded(items[index]["embedding"])}
            for index in range(count)
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
    if count != len(inputs_of(body["input"])):
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
    return {"object": "list", **response, "data": data, ENCODING: body.get(ENCODING) or "float"}
