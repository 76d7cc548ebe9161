"""Send the SDK's requests with aiohttp: the only module that knows the HTTP library.

It keeps no cookies, follows no redirect, and raises ModelFailed for whatever the library raises.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from http import HTTPStatus
from typing import Final, override
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from common.domain.errors import ModelFailed
from common.domain.task import FailureCode
from common.worker.content_encoding import decoded

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

_DROPPED: Final = frozenset({b"set-cookie", b"content-encoding", b"content-length", b"transfer-encoding"})
"""Response headers that httpx2 must not see: it would keep the cookie, and decode or count a body that is decoded."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Carry httpx2's requests over one aiohttp session, which opens with the first request."""

    def __init__(self, *, timeout_seconds: float) -> None:
        """Take how long a read may wait."""
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(CONNECT_SECONDS, timeout_seconds), sock_read=timeout_seconds
        )
        self._opened: aiohttp.ClientSession | None = None

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the response, whose body is read from its stream, decompressed.

        Raises:
            ModelFailed: the provider could not be reached, or did not answer by the rules of HTTP.

        """
        url = URL(str(request.url), encoded=True)
        with _http_errors():
            response = await self._session().request(
                request.method,
                url,
                data=await request.aread(),
                headers=request.headers.multi_items(),
                allow_redirects=False,
                timeout=self._timeout,
                proxy=_proxy_for(url),
            )
        headers = [(name, value) for name, value in response.raw_headers if name.lower() not in _DROPPED]
        stream = _Body(response) if response.status < HTTPStatus.MULTIPLE_CHOICES else _ErrorBody(response)
        return httpx2.Response(response.status, headers=headers, stream=stream)

    def _session(self) -> aiohttp.ClientSession:
        # Created here: it belongs to the loop that runs, and before the first call there is none.
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                # One client serves all tenants: a cookie of one answer must go out with no other call.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
            )
        return self._opened

    @override
    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()


class _Body(httpx2.AsyncByteStream):
    """Read the body of a response, decompressed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(decoded(_pieces_of(self._response))) as pieces:
            async for piece in pieces:
                yield piece

    @override
    async def aclose(self) -> None:
        # A connection whose response was read to its end is kept; any other is closed.
        self._response.release()


class _ErrorBody(_Body):
    """Read the body of an error as far as its bounds allow: without it, the status decides."""

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = bytearray()
        try:
            async with asyncio.timeout(ERROR_SECONDS), aclosing(decoded(_pieces_of(self._response))) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > MAX_ERROR_BYTES:
                        return
        except (ModelFailed, TimeoutError):
            return
        yield bytes(body)


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
