"""Resolve host names of webhooks, a few at a time for each tenant.

`getaddrinfo` blocks its thread until the system's resolver gives up, and nothing can cancel it. Each lookup therefore
runs in a daemon thread of its own. A thread that hangs uses up one of its tenant's lookups, and none of another's.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final

LOOKUP_SECONDS: Final = 5.0
"""Timeout of one lookup, including its wait for a free place. Working names resolve within a second or two."""

TENANT_LOOKUPS: Final = 4
"""Concurrent lookups of one tenant, including those whose caller has timed out."""

MOST_LOOKUPS: Final = 128
"""Concurrent lookups of all tenants. An environment has at most 1,024 threads and file descriptors."""

type Lookup = Callable[[str, int], Sequence[str]]
type _Key = tuple[str, str, int]


def look_up(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver; raise OSError if it has no address."""
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Resolver:
    """Resolve names for all tenants; one instance for the lifetime of the environment, on one event loop."""

    def __init__(
        self,
        lookup: Lookup = look_up,
        *,
        seconds: float = LOOKUP_SECONDS,
        tenant_lookups: int = TENANT_LOOKUPS,
        most_lookups: int = MOST_LOOKUPS,
    ) -> None:
        """Create a resolver.

        Args:
            lookup: the blocking lookup.
            seconds: timeout of a lookup in seconds.
            tenant_lookups: concurrent lookups of one tenant.
            most_lookups: concurrent lookups of all tenants.

        """
        self._lookup = lookup
        self._seconds = seconds
        self._tenant_lookups = tenant_lookups
        self._most_lookups = most_lookups
        self._running: dict[_Key, asyncio.Future[list[str] | None]] = {}

    async def resolve(self, tenant: str, host: str, port: int) -> list[str]:
        """Return the addresses of a name. A tenant's calls for one name share a lookup.

        Raises:
            TimeoutError: the lookup did not end in time.
            OSError: the name has no address.

        """
        key = (tenant, host, port)
        async with asyncio.timeout(self._seconds):
            while key not in self._running and not self._has_room(tenant):
                # asyncio.wait does not cancel the lookups, which other calls await.
                await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
            found = await asyncio.shield(self._running.get(key) or self._start(key))
        if found is None:
            raise OSError("the name cannot be resolved")
        return found

    def _has_room(self, tenant: str) -> bool:
        of_tenant = sum(each == tenant for each, _, _ in self._running)
        return of_tenant < self._tenant_lookups and len(self._running) < self._most_lookups

    def _start(self, key: _Key) -> "asyncio.Future[list[str] | None]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str] | None] = loop.create_future()
        thread = threading.Thread(target=self._run, args=(key, loop), name="webhook-lookup", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError("no thread is left for a lookup") from error
        self._running[key] = future
        return future

    def _run(self, key: _Key, loop: asyncio.AbstractEventLoop) -> None:
        _, host, port = key
        try:
            found = list(self._lookup(host, port))
        except Exception:  # noqa: BLE001  # the resolver raises many types for bad names; all mean that it has no address
            found = None
        try:
            loop.call_soon_threadsafe(self._finish, key, found)
        except RuntimeError:
            return  # the loop is closed: the process ends

    def _finish(self, key: _Key, found: list[str] | None) -> None:
        self._running.pop(key).set_result(found)
