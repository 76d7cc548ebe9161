"""Provide the SSRF-hardened HTTP client for webhooks, whose addresses callers choose.

The client resolves a host name once (resolver.py), requires every address to be public, and connects to one of exactly
these addresses. So a later change of the name has no effect (DNS rebinding). It checks the certificate against the
name. It follows no redirects, ignores the environment's proxies, does not read the response body, and has one time
limit for everything.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final

from common.webhooks.model import HTTPS_PORT, Target, WebhookDeliveryCode, is_allowed
from functions.webhook.service import AttemptResult

TRY_SECONDS: Final = 15.0
"""Timeout of one try, including the lookup. Receivers should confirm an event first and process it later."""

CONNECT_SECONDS: Final = 4.0
"""Timeout of one connection attempt, so that time remains for another address."""

MOST_ADDRESSES: Final = 3
"""Maximum number of addresses of one name that are tried."""

THREADS: Final = 10
"""Concurrent calls: the maximum number of messages of an invocation."""

USER_AGENT: Final = "Sluice-Webhooks/1"

type Resolve = Callable[[str, str, int], Awaitable[Sequence[str]]]
"""Return the addresses of a tenant's host and port; raise OSError if it has none."""


class SafeHttpClient:
    """Post to webhooks; one instance for the lifetime of the environment."""

    def __init__(
        self,
        *,
        allow_loopback: bool,
        resolve: Resolve,
        context: ssl.SSLContext | None = None,
        try_seconds: float = TRY_SECONDS,
    ) -> None:
        """Create a client.

        Args:
            allow_loopback: whether loopback addresses are allowed.
            resolve: the resolver of host names.
            context: TLS context; the default has the system's authorities.
            try_seconds: timeout of one try in seconds.

        """
        self._allow_loopback = allow_loopback
        self._resolve = resolve
        self._context = context or ssl.create_default_context()
        self._try_seconds = try_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")

    async def post(self, tenant: str, target: Target, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        """Post a body for a tenant and return the result; never raises."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._try_seconds
        try:
            async with asyncio.timeout_at(end):
                addresses = await self._resolve(tenant, target.host, target.port)
                found = [ipaddress.ip_address(text) for text in addresses]
        except TimeoutError:
            return AttemptResult(WebhookDeliveryCode.TIMEOUT)
        except (OSError, ValueError):
            return AttemptResult(WebhookDeliveryCode.NAME_NOT_RESOLVED)
        if not all(is_allowed(address, allow_loopback=self._allow_loopback) for address in found):
            return AttemptResult(WebhookDeliveryCode.ADDRESS_NOT_ALLOWED)
        # IPv4 first: Lambda outside a VPC has no IPv6.
        ordered = [str(address) for address in sorted(dict.fromkeys(found), key=lambda address: address.version)]
        call = _Call(target, ordered[:MOST_ADDRESSES], self._context if target.is_tls else None, self._try_seconds)
        timer = loop.call_at(end, call.cut)
        try:
            return await loop.run_in_executor(self._threads, call.make, headers, body)
        finally:
            timer.cancel()


class _Call:
    """One call, made in a thread; the event loop may cut it at any time."""

    def __init__(
        self, target: Target, addresses: Sequence[str], context: ssl.SSLContext | None, seconds: float
    ) -> None:
        self._target = target
        self._addresses = addresses
        self._context = context
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._is_cut = False

    def cut(self) -> None:
        """Shut the socket down, so that the pending operation fails. A timeout per read would not stop a slow drip."""
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which first drops its TLS state.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def make(self, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        try:
            status = self._post(headers, body)
            # http.client treats headers that end with the connection as complete.
            return AttemptResult(WebhookDeliveryCode.TIMEOUT) if self._is_cut else _result_of(status)
        except (OSError, HTTPException) as error:
            return AttemptResult(WebhookDeliveryCode.TIMEOUT if self._is_cut else _code_of(error))
        finally:
            if self._socket is not None:
                self._socket.close()

    def _post(self, headers: Mapping[str, str], body: bytes) -> int:
        self._connect()
        connection = HTTPConnection(self._target.host, self._target.port)
        # With an open socket, http.client neither resolves nor connects.
        connection.sock = self._socket
        try:
            connection.request(
                "POST",
                self._target.path,
                body,
                {
                    "Host": _host_of(self._target),
                    "Content-Type": "application/json",
                    "User-Agent": USER_AGENT,
                    "Connection": "close",
                    **headers,
                },
            )
            return connection.getresponse().status
        finally:
            connection.close()

    def _connect(self) -> None:
        plain = self._open()
        plain.settimeout(self._seconds)
        self._socket = plain
        if self._context is not None:
            self._socket = self._context.wrap_socket(
                plain, server_hostname=self._target.host, do_handshake_on_connect=False
            )
        if self._is_cut:
            raise TimeoutError
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.do_handshake()

    def _open(self) -> socket.socket:
        *others, last = self._addresses
        for address in others:
            with contextlib.suppress(OSError):
                return self._open_one(address)
            if self._is_cut:  # `cut` cannot interrupt a connection attempt
                raise TimeoutError
        return self._open_one(last)

    def _open_one(self, address: str) -> socket.socket:
        return socket.create_connection((address, self._target.port), CONNECT_SECONDS)


def _result_of(status: int) -> AttemptResult:
    match status // 100:
        case 2:
            return AttemptResult(None, status)
        case 3:
            return AttemptResult(WebhookDeliveryCode.REDIRECT, status)
        case _:
            return AttemptResult(
                WebhookDeliveryCode.GONE if status == HTTPStatus.GONE else WebhookDeliveryCode.REFUSED, status
            )


def _host_of(target: Target) -> str:
    name = f"[{target.host}]" if ":" in target.host else target.host
    return name if target.is_tls and target.port == HTTPS_PORT else f"{name}:{target.port}"


def _code_of(error: OSError | HTTPException) -> WebhookDeliveryCode:
    # If the peer closes the connection, http.client raises an error that is both an OSError and an HTTPException.
    match error:
        case ssl.SSLError():
            return WebhookDeliveryCode.TLS
        case TimeoutError():
            return WebhookDeliveryCode.TIMEOUT
        case OSError():
            return WebhookDeliveryCode.CONNECTION
        case _:
            return WebhookDeliveryCode.UNREADABLE_ANSWER
