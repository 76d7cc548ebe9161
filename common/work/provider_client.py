"""Send requests to the provider over HTTP: the only module that knows the HTTP library.

It keeps no cookies, follows no redirect, and raises a ModelError for everything that can go wrong.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from common.errors import ModelFailed
from common.tasks import FailureCode
from common.work.content_encoding import ACCEPT_ENCODING, decoded
from common.work.provider import KeySource
from common.work.verdicts import codes_of, judge

OPENAI_URL: Final = "https://api.openai.com/v1"
"""The base URL where the operator sets none."""

CONNECT_SECONDS: Final = 10.0
"""Seconds to reach the provider; reading has the whole time of the call."""

KEEP_ALIVE_SECONDS: Final = 5.0
"""Seconds for which an idle connection is kept: less than the idle timeout of any usual server."""

MOST_CONNECTIONS: Final = 1000
"""Connections at a time: as many as a worker may make calls."""

MAX_HEADER_BYTES: Final = 64 * 1024
"""Bytes of one header line, at most. Content-Security-Policy headers of 9 kB are in use; aiohttp takes 8,190 bytes."""

MAX_HEADERS: Final = 256
"""Headers of one answer, at most; aiohttp takes 128."""

MAX_ERROR_BYTES: Final = 256 * 1024
"""Bytes that are read of an error's body, after decompression: its codes stand in the first few hundred."""

ERROR_SECONDS: Final = 10.0
"""Seconds for an error's body: the status says most of what it does, so a body that hangs is left."""

WATCH_SECONDS: Final = 1.0
"""Seconds between two looks at the connection of a body: the second that finds it closed ends the read."""

USER_AGENT: Final = "Sluice/1"

type HeaderListener = Callable[[str, Mapping[str, str]], None]
"""Takes a model's name and the headers of its answer, also of an error."""


class ProviderClient:
    """Post chat completions. Create one for the life of the environment: it keeps its connections."""

    def __init__(
        self, *, key: KeySource, base_url: str | None, timeout_seconds: float, on_headers: HeaderListener
    ) -> None:
        """Take the key's source, the base URL, and how long a read may wait; connect before the first call only."""
        self._key = key
        self._on_headers = on_headers
        self._url = URL(endpoint_of(base_url or OPENAI_URL, "chat/completions"), encoded=True)
        self._proxy = _proxy_for(self._url)
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(CONNECT_SECONDS, timeout_seconds), sock_read=timeout_seconds
        )
        self._opened: aiohttp.ClientSession | None = None

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self._key()

    @asynccontextmanager
    async def post(self, model: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a request, and yield the pieces of the answer's body, decompressed.

        The timeout bounds each read, also of the pieces, and not the whole: a slow drip outlives it.

        Raises:
            ModelError: the provider refused, could not be reached, or did not answer by the rules of HTTP.
            Unavailable: the key cannot be read.

        """
        used = await self._key()
        response = await self._send(body, used)
        # The key may have been rotated since it was read. A call that was refused for its key is not billed.
        if response.status == HTTPStatus.UNAUTHORIZED and await self._renewed(response, used):
            response = await self._send(body, await self._key())
        try:
            self._on_headers(model, response.headers)
            if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                codes = await _codes_in(response)
                raise judge(response.status, response.headers, codes, datetime.now(UTC))
            async with aclosing(decoded(_pieces_of(response))) as pieces:
                yield pieces
        finally:
            # A connection whose answer was read to its end is kept; any other is closed.
            response.release()

    async def _renewed(self, response: aiohttp.ClientResponse, refused: str) -> bool:
        try:
            is_new = await self._key.renewed(refused)
        except BaseException:
            response.close()
            raise
        if is_new:
            response.close()
        return is_new

    async def _send(self, body: bytes, key: str) -> aiohttp.ClientResponse:
        with _http_errors():
            return await self._session().post(
                self._url,
                data=body,
                headers={"Authorization": f"Bearer {key}"},
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy,
            )

    def _session(self) -> aiohttp.ClientSession:
        # Made here: it belongs to the loop that runs, and before the first call there is none.
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                # One client serves all tenants: a cookie of one answer must go out with no other call.
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "Accept": "application/json, text/event-stream",
                    "Accept-Encoding": ACCEPT_ENCODING,
                    "Content-Type": "application/json",
                    "User-Agent": USER_AGENT,
                },
                auto_decompress=False,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
            )
        return self._opened

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()


def endpoint_of(base_url: str, path: str) -> str:
    """Append a path to a base URL, before its query: `https://host/deployment?api-version=1` keeps that last."""
    parts = urlsplit(base_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def _proxy_for(url: URL) -> str | None:
    """Return the proxy that the environment names for a URL: HTTPS_PROXY and its kin, except for NO_PROXY."""
    proxies = getproxies()
    if not proxies or not url.host or proxy_bypass(url.host):
        return None
    return proxies.get(url.scheme) or proxies.get("all")


async def _pieces_of(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    watch = _ConnectionWatch(response)
    try:
        with _http_errors():
            async for piece in response.content.iter_any():
                yield piece
    finally:
        watch.stop()


class _ConnectionWatch:
    """End the read of a body whose connection is closed.

    Where the HTTP inside a body is broken, aiohttp closes the connection and leaves the reader waiting, also beyond the
    timeout of a read.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._was_closed = False
        self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def _look(self) -> None:
        connection, content = self._response.connection, self._response.content
        if connection is None or content.is_eof() or content.exception() is not None:
            return
        # A connection that has just been closed may still be about to say how.
        if connection.closed and self._was_closed:
            content.set_exception(HttpProcessingError())
            return
        self._was_closed = connection.closed
        self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def stop(self) -> None:
        """Stop looking."""
        self._timer.cancel()


async def _codes_in(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    """Read the codes of an error's body, as far as it has any: without them the status alone decides."""
    body = bytearray()
    try:
        async with asyncio.timeout(ERROR_SECONDS), aclosing(decoded(_pieces_of(response))) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > MAX_ERROR_BYTES:
                    return ()
        raw = json.loads(body)
    except (ModelFailed, TimeoutError, ValueError, RecursionError):
        return ()
    return codes_of(raw.get("error", raw) if isinstance(raw, dict) else None)


@contextmanager
def _http_errors() -> Iterator[None]:
    """Turn what the HTTP library raises into ModelFailed, without its text and without it as the cause."""
    try:
        yield
    except aiohttp.SocketTimeoutError:
        raise ModelFailed(FailureCode.TIMEOUT) from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError):
        raise ModelFailed(FailureCode.CONNECTION) from None
    except (aiohttp.ClientError, HttpProcessingError, ValueError, OverflowError):
        # Not HTTP: a broken status line, a header that is too long or twice there, a number that is none.
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
