"""Call addresses that callers chose, and nothing but those: this code stands where an attacker would like to stand.

A name is looked up once (resolver.py), each of its addresses must be public, and one of those very addresses is
dialled: a name that answers otherwise a moment later leads nowhere. The certificate is checked against the name.
Redirects are not followed, no proxy of the environment is used, the answer's body is not read, and all of it has one
time limit.
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
"""For one try, look-up and all: receivers should take an event and work on it later."""

CONNECT_SECONDS: Final = 4.0
"""For one connection, so that another address has its turn."""

MOST_ADDRESSES: Final = 3
"""Addresses of one name that are tried."""

THREADS: Final = 10
"""Calls at once: an invocation has no more messages."""

USER_AGENT: Final = "Sluice-Webhooks/1"

type Resolve = Callable[[str, str, int], Awaitable[Sequence[str]]]
"""Return the addresses of a tenant's host and port; raise OSError where it has none."""


class SafeHttpClient:
    """Make calls; one for the life of the environment."""

    def __init__(
        self,
        *,
        allow_loopback: bool,
        resolve: Resolve,
        context: ssl.SSLContext | None = None,
        try_seconds: float = TRY_SECONDS,
    ) -> None:
        """Take whether this machine may be called, and what resolves names; tests set other authorities, less time."""
        self._allow_loopback = allow_loopback
        self._resolve = resolve
        self._context = context or ssl.create_default_context()
        self._try_seconds = try_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")

    async def post(self, tenant: str, target: Target, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        """Send a body for a tenant and return what came of it; never raises."""
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
        # Lambda outside of a VPC has no IPv6.
        ordered = [str(address) for address in sorted(dict.fromkeys(found), key=lambda address: address.version)]
        call = _Call(target, ordered[:MOST_ADDRESSES], self._context if target.is_tls else None, self._try_seconds)
        timer = loop.call_at(end, call.cut)
        try:
            return await loop.run_in_executor(self._threads, call.make, headers, body)
        finally:
            timer.cancel()


class _Call:
    """Make one call in a thread; another may cut it at any moment."""

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
        """End it: whatever it waits for, fails. A timeout of each read alone would let a slow drip go on for ever."""
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: that forgets first that it is encrypted.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def make(self, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        try:
            status = self._ask(headers, body)
            # To http.client, headers that end with the connection have just ended.
            return AttemptResult(WebhookDeliveryCode.TIMEOUT) if self._is_cut else _verdict(status)
        except (OSError, HTTPException) as error:
            return AttemptResult(WebhookDeliveryCode.TIMEOUT if self._is_cut else _code_of(error))
        finally:
            if self._socket is not None:
                self._socket.close()

    def _ask(self, headers: Mapping[str, str], body: bytes) -> int:
        self._connect()
        connection = HTTPConnection(self._target.host, self._target.port)
        # A connection that is open already: it neither looks up nor dials.
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
        plain = self._dial()
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

    def _dial(self) -> socket.socket:
        *others, last = self._addresses
        for address in others:
            with contextlib.suppress(OSError):
                return self._dial_one(address)
            if self._is_cut:  # a connection that is being made cannot be cut
                raise TimeoutError
        return self._dial_one(last)

    def _dial_one(self, address: str) -> socket.socket:
        return socket.create_connection((address, self._target.port), CONNECT_SECONDS)


def _verdict(status: int) -> AttemptResult:
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
    # A peer that hangs up is both an OSError and an HTTPException to http.client.
    match error:
        case ssl.SSLError():
            return WebhookDeliveryCode.TLS
        case TimeoutError():
            return WebhookDeliveryCode.TIMEOUT
        case OSError():
            return WebhookDeliveryCode.CONNECTION
        case _:
            return WebhookDeliveryCode.UNREADABLE_ANSWER
