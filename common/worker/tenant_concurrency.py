"""Keep each tenant below its cap of calls in flight, all workers together."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from common.domain.errors import StoreUnavailable
from common.worker.deadlines import InvocationDeadlines
from common.worker.heartbeat import repeated


class TenantSlotStore(Protocol):
    """Hold the shares of all invocations; may raise StoreUnavailable."""

    async def acquire_slots(
        self, invocation: str, wanted: Mapping[str, int], cap: int, lease_ms: int
    ) -> dict[str, int]:
        """Take shares of the tenants' calls in flight, or give them back by wanting none."""


class TenantSlots:
    """Hold what one invocation may have in flight for one tenant."""

    def __init__(self, size: int) -> None:
        self.is_empty = size == 0
        self.slots = asyncio.Semaphore(size)


class TenantConcurrency:
    """Take a share for each tenant of an invocation, and give it back at its end; a dead worker's ends by itself."""

    def __init__(self, flights: TenantSlotStore, cap: int) -> None:
        """Take where the shares are held and the cap of each tenant, 0 for none: then nothing is ever asked."""
        self._flights = flights
        self._cap = cap

    @asynccontextmanager
    async def acquire(
        self, wanted: Mapping[str, int], deadlines: InvocationDeadlines
    ) -> AsyncIterator[dict[str, TenantSlots]]:
        """Hold the shares for the length of the block: of what each tenant wants, as much as its cap allows.

        Raises:
            StoreUnavailable: nobody can say what is free.

        """
        if not self._cap or not wanted:
            yield {}
            return
        invocation = secrets.token_hex(8)
        granted = await self._flights.acquire_slots(invocation, wanted, self._cap, deadlines.lease_ms)

        async def renew() -> None:
            with suppress(StoreUnavailable):
                await self._flights.acquire_slots(invocation, granted, self._cap, deadlines.lease_ms)

        try:
            async with repeated(renew, deadlines.beat_seconds, until=deadlines.writes_end):
                yield {tenant: TenantSlots(size) for tenant, size in granted.items()}
        finally:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout_at(deadlines.writes_end):
                    await self._flights.acquire_slots(
                        invocation, dict.fromkeys(wanted, 0), self._cap, deadlines.lease_ms
                    )
