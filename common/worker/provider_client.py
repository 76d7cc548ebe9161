"""Post requests to the provider with the OpenAI SDK; everything that can go wrong becomes a ModelError."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Final, cast
from urllib.parse import urlsplit, urlunsplit

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, AsyncStream, AuthenticationError, OpenAIError

from common.domain.errors import ModelError, ModelFailed
from common.domain.task import FailureCode
from common.worker.content_encoding import ACCEPT_ENCODING
from common.worker.provider import KeySource
from common.worker.provider_errors import add_request_id, classify, codes_of, provider_error_of
from common.worker.provider_transport import AiohttpTransport

OPENAI_URL: Final = "https://api.openai.com/v1"
"""The base URL where the operator sets none."""

type HeaderListener = Callable[[str, Mapping[str, str]], None]
"""Takes a model's name and the headers of its answer, also of an error."""


class ProviderClient:
    """Post requests. Create one for the life of the environment: it keeps its connections."""

    def __init__(
        self, *, key: KeySource, base_url: str | None, timeout_seconds: float, on_headers: HeaderListener
    ) -> None:
        """Take the key's source, the base URL, and how long a read may wait; connect before the first call only."""
        self._key = key
        self._on_headers = on_headers
        self._base_url = base_url or OPENAI_URL
        self._client = AsyncOpenAI(
            api_key=key,
            base_url=self._base_url,
            # The SDK would retry a 429 about an empty account three times. Sluice has the only retry policy.
            max_retries=0,
            timeout=None,  # the transport's, and the caller's for the whole call
            http_client=httpx2.AsyncClient(
                transport=AiohttpTransport(timeout_seconds=timeout_seconds),
                headers={"Accept-Encoding": ACCEPT_ENCODING},
                follow_redirects=False,
                trust_env=False,
            ),
        )

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self._key()

    @asynccontextmanager
    async def post(self, model: str, body: bytes, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a request to the endpoint at `path`, and yield the pieces of the answer's body, decompressed.

        The timeout bounds each read, also of the pieces, and not the whole: a slow drip outlives it.

        Raises:
            ModelError: the provider refused, could not be reached, or did not answer by the rules of HTTP.
            Unavailable: the key cannot be read.

        """
        used, url = await self._key(), endpoint_of(self._base_url, path)
        with self._model_errors(model):
            try:
                response = await self._send(url, body)
            except AuthenticationError:
                # The key may have been rotated since it was read. A call that was refused for its key is not billed.
                if not await self._key.renewed(used):
                    raise
                response = await self._send(url, body)
        try:
            self._on_headers(model, response.headers)
            async with aclosing(response.aiter_raw()) as pieces:
                yield pieces
        except ModelError as error:
            add_request_id(error, response.headers)
            raise
        finally:
            await response.aclose()

    async def _send(self, url: str, body: bytes) -> httpx2.Response:
        # The SDK's method for chat completions walks through every part of the messages by their types, which takes
        # longer than the rest of a call. Its method for undocumented endpoints sends the body as it is.
        sent = self._client.post(
            url, cast_to=httpx2.Response, content=body, stream=True, stream_cls=AsyncStream[object]
        )
        return cast("httpx2.Response", await sent)  # as `cast_to` says; the signature knows of no raw stream

    @contextmanager
    def _model_errors(self, model: str) -> Iterator[None]:
        """Turn what the SDK raises into a ModelError, without its text and without it as the cause."""
        try:
            yield
        except APIStatusError as error:
            self._on_headers(model, error.response.headers)
            codes = codes_of(error.body)
            failure = classify(error.status_code, error.response.headers, codes, datetime.now(UTC))
            failure.provider_error = provider_error_of(error.body)
            add_request_id(failure, error.response.headers)
        except APIConnectionError as error:
            cause = error.__cause__
            if not isinstance(cause, ModelFailed):
                raise
            failure = ModelFailed(cause.code)
        except OpenAIError:
            failure = ModelFailed(FailureCode.UNREADABLE_ANSWER)
        else:
            return
        raise failure from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def endpoint_of(base_url: str, path: str) -> str:
    """Append a path to a base URL, before its query: `https://host/deployment?api-version=1` keeps that last."""
    parts = urlsplit(base_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))
