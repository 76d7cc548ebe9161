"""Ask an OpenAI-compatible model; every way in which that can fail becomes a ModelError."""

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final, cast

import httpx2
from openai import (
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    AuthenticationError,
    DefaultAioHttpClient,
)

from common.messages import TaskMessage
from common.prices import NO_PRICES, Prices
from common.tasks import Answer
from common.work.completion_stream import read_completion
from common.work.provider import CONNECT_SECONDS, OPENAI_URL, KeySource, model_errors

_OURS: Final = frozenset({"model", "messages", "stream", "stream_options"})
"""Parameters of the request that a caller's params never override."""

type HeaderListener = Callable[[str, Mapping[str, str]], None]
"""Is told a model's name and the headers of its answer, be that an error."""


class ChatModel:
    """Speak chat completions, streamed. One for the life of the environment: it keeps its connections."""

    def __init__(
        self,
        *,
        key: KeySource,
        base_url: str | None,
        timeout_seconds: float,
        on_headers: HeaderListener,
        prices: Prices = NO_PRICES,
    ) -> None:
        """Take where the key comes from, and the price table; nothing is connected or fetched before the first call."""
        self._key = key
        self._prices = prices
        self._on_headers = on_headers
        # No retries of the SDK's: it would send a 429 about an empty account three times. Ours is the one policy.
        base_url = base_url or OPENAI_URL
        # Whole: the SDK parses a relative one, then what it has made of it.
        self._address = f"{base_url.rstrip('/')}/chat/completions"
        self._client = AsyncOpenAI(
            api_key=key,
            base_url=base_url,
            max_retries=0,
            timeout=httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
            http_client=DefaultAioHttpClient(),
        )

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self._key()

    async def ask(self, message: TaskMessage, on_text: Callable[[str], None], *, ends_at: float = math.inf) -> Answer:
        """Stream the answer to one task, handing each piece of it to `on_text`; one of a tool call is "".

        The caller bounds the time, to `ends_at`: a timeout of the HTTP client is per read, and a slow drip outlives it.

        Raises:
            ModelError: by class, see common.errors.

        """
        with model_errors(), self._heard(message.task.model):
            async with self._response(_body_of(message)) as response:
                self._on_headers(message.task.model, response.headers)
                async with aclosing(response.aiter_bytes()) as chunks:
                    answer = await read_completion(chunks, on_text, ends_at=ends_at)
        return replace(answer, cost_nanos=self._prices.cost_nanos(message.task.model, answer.usage))

    @asynccontextmanager
    async def _response(self, body: bytes) -> AsyncIterator[httpx2.Response]:
        # The SDK's own way for endpoints that it has no method for. Its method for this one looks at every part of the
        # messages, which are passed on as the caller wrote them, and takes longer for that than for the rest of a call.
        used = await self._key()
        try:
            response = await self._post(body)
        except AuthenticationError:
            # The key may have been rotated since it was read. A call that was refused so is not billed.
            if not await self._key.renewed(used):
                raise
            response = await self._post(body)
        try:
            yield response
        finally:
            await response.aclose()

    async def _post(self, body: bytes) -> httpx2.Response:
        sent = self._client.post(
            self._address, cast_to=httpx2.Response, content=body, stream=True, stream_cls=AsyncStream[object]
        )
        return cast("httpx2.Response", await sent)  # as `cast_to` says; the signature knows of no raw stream

    @contextmanager
    def _heard(self, model: str) -> Iterator[None]:
        try:
            yield
        except APIStatusError as error:
            self._on_headers(model, error.response.headers)
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _body_of(message: TaskMessage) -> bytes:
    """Write the request's body; raise UnicodeEncodeError for what no HTTP body can carry."""
    body = {name: value for name, value in message.params.items() if name not in _OURS} | {
        "model": message.task.model,
        "messages": message.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
