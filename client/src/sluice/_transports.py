"""Perform the effects of operations, with blocking calls or with asyncio. Only this module uses the HTTP client."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final, assert_never, override
from urllib.parse import urlsplit

import httpx2

from sluice._exceptions import NotConfiguredError
from sluice._operations import (
    Effect,
    Iteration,
    Operation,
    Request,
    Response,
    Sleep,
    TakeItems,
    TransportError,
    YieldItem,
)
from sluice._response_body import ACCEPT_ENCODING, ResponseBody
from sluice._version import __version__

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
"""Read timeout of a request that is not held: API Gateway ends requests after 29 s."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The service's URL and the key, which stays out of the repr."""

    url: str
    api_key: str = field(repr=False)

    @classmethod
    def of(cls, url: str | None, api_key: str | None, environ: Mapping[str, str] = os.environ) -> "Endpoint":
        """Return the endpoint of the arguments, with SLUICE_URL and SLUICE_API_KEY as defaults.

        Raises:
            NotConfiguredError: one of them is missing or malformed.

        """
        url, api_key = url or environ.get("SLUICE_URL", ""), api_key or environ.get("SLUICE_API_KEY", "")
        if not url:
            raise NotConfiguredError("Missing service URL: pass `url` or set SLUICE_URL.")
        if not _is_usable(url):
            raise NotConfiguredError(
                "Invalid service URL. Example: https://abc.execute-api.eu-central-1.amazonaws.com/prod"
            )
        if urlsplit(url).scheme == "http" and not _is_loopback(url):
            raise NotConfiguredError(
                "The service URL begins with http://, so others on the network could read the API key. Use https://. "
                "Only this machine (localhost, 127.0.0.1, [::1]) may be called without it."
            )
        if not api_key:
            raise NotConfiguredError("Missing API key: pass `api_key` or set SLUICE_API_KEY.")
        if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise NotConfiguredError("Invalid API key: it contains a space, a line break or a character outside ASCII.")
        return cls(url.rstrip("/"), api_key)

    @property
    def client_options(self) -> dict[str, Any]:
        """Return the options of an HTTP client of our own; a proxy of the environment never gets a loopback request."""
        return {"cookies": NoCookies(), "trust_env": not _is_loopback(self.url)}

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        return {
            "Authorization": f"Bearer {self.api_key}",
            "User-Agent": f"sluice-python/{__version__}",
            "Accept-Encoding": ACCEPT_ENCODING,
        }

    def request_arguments(self, request: Request) -> dict[str, Any]:
        """Return the HTTP client's arguments for a request."""
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, read=READ_SECONDS + request.hold)
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": request.query or None,
            "headers": {**request.headers, **self.headers},
            "content": request.body,
            "timeout": timeout,
            # A redirect would carry the prompts elsewhere, also with a client of the caller's that follows them.
            "follow_redirects": False,
        }


def _is_loopback(url: str) -> bool:
    """Return True if a URL names this machine, by a loopback address or as localhost (RFC 6761)."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class NoCookies(CookieJar):
    """Keep no cookie. The service sets none; one that a gateway sets must not come back with another request."""

    @override
    def extract_cookies(self, response: object, request: object) -> None:
        """Take nothing from a response."""


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and not (parts.query or parts.fragment or parts.username)


def _body_of(response: httpx2.Response) -> ResponseBody | None:
    """Return an empty body to fill, or None if a transport of the caller's has read the response already."""
    return None if response.is_stream_consumed else ResponseBody(response.headers.get("content-encoding", ""))


def _response(response: httpx2.Response, body: ResponseBody | None) -> Response:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status_code, headers, response.content if body is None else body.finish())


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Make the HTTP client's errors ours; their own text may be empty."""
    try:
        yield
    except httpx2.InvalidURL as error:
        raise NotConfiguredError("Invalid service URL.") from error
    except TransportError as error:
        raise TransportError(f"{url} does not answer: {error}") from error
    except httpx2.HTTPError as error:
        why = "took too long" if isinstance(error, httpx2.TimeoutException) else str(error) or type(error).__name__
        raise TransportError(f"{url} does not answer: {why}") from error


@dataclass(frozen=True, slots=True)
class _End:
    value: Any


class SyncTransport:
    """Do effects one after the other, waiting for each."""

    def __init__(self, endpoint: Endpoint, http: httpx2.Client, sleep: Callable[[float], None] = time.sleep) -> None:
        self.endpoint = endpoint
        self.http = http
        self._sleep = sleep

    def run[T](self, operation: Operation[T]) -> T:
        """Do an operation and return its value."""
        value: T = self._advance(operation).value
        return value

    def iterate[T](self, flow: Iteration[T]) -> Iterator[T]:
        """Do a flow and yield its items."""
        with closing(flow):
            while isinstance(item := self._advance(flow), YieldItem):
                yield item.value

    def _advance(self, conversation: Generator[Any, Any, Any]) -> YieldItem[Any] | _End:
        """Do what is asked for, up to the next item or the end."""
        say, what = conversation.send, None
        while True:
            try:
                effect = say(what)
            except StopIteration as end:
                return _End(end.value)
            if isinstance(effect, YieldItem):
                return effect
            try:
                say, what = conversation.send, self._perform(effect)
            except BaseException as error:  # noqa: BLE001 - the flow handles it or raises it again, Ctrl-C as well
                say, what = conversation.throw, error

    def _perform(self, effect: Effect) -> Any:  # noqa: ANN401 - each effect has an answer of its own
        match effect:
            case Request():
                with _mapped(self.endpoint.url):
                    return self._request(effect)
            case Sleep():
                return self._sleep(effect.seconds)
            case TakeItems(source, count):
                if isinstance(source, AsyncIterator):
                    raise TypeError("An async iterable is for AsyncSluice")
                return list(islice(source, count))
            case _:
                assert_never(effect)

    def _request(self, request: Request) -> Response:
        with self.http.stream(**self.endpoint.request_arguments(request)) as response:
            body = _body_of(response)
            if body is not None:
                for data in response.iter_raw():
                    body.feed(data)
            return _response(response, body)


class AsyncTransport:
    """Do effects one after the other, letting others run meanwhile."""

    def __init__(
        self, endpoint: Endpoint, http: httpx2.AsyncClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.endpoint = endpoint
        self.http = http
        self._sleep = sleep

    async def run[T](self, operation: Operation[T]) -> T:
        """Do an operation and return its value."""
        value: T = (await self._advance(operation)).value
        return value

    async def iterate[T](self, flow: Iteration[T]) -> AsyncIterator[T]:
        """Do a flow and yield its items."""
        with closing(flow):
            while isinstance(item := await self._advance(flow), YieldItem):
                yield item.value

    async def _advance(self, conversation: Generator[Any, Any, Any]) -> YieldItem[Any] | _End:
        say, what = conversation.send, None
        while True:
            try:
                effect = say(what)
            except StopIteration as end:
                return _End(end.value)
            if isinstance(effect, YieldItem):
                return effect
            try:
                say, what = conversation.send, await self._perform(effect)
            except BaseException as error:  # noqa: BLE001 - the flow handles it or raises it again, Ctrl-C as well
                say, what = conversation.throw, error

    async def _perform(self, effect: Effect) -> Any:  # noqa: ANN401 - each effect has an answer of its own
        match effect:
            case Request():
                with _mapped(self.endpoint.url):
                    return await self._request(effect)
            case Sleep():
                return await self._sleep(effect.seconds)
            case TakeItems(source, count):
                if isinstance(source, Iterator):
                    return list(islice(source, count))
                taken: list[Any] = []
                while len(taken) < count:
                    try:
                        taken.append(await anext(source))
                    except StopAsyncIteration:
                        break
                return taken
            case _:
                assert_never(effect)

    async def _request(self, request: Request) -> Response:
        async with self.http.stream(**self.endpoint.request_arguments(request)) as response:
            body = _body_of(response)
            if body is not None:
                async for data in response.aiter_raw():
                    body.feed(data)
            return _response(response, body)
