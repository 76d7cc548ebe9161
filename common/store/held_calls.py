"""Count the calls that are held, each with a lease: the place of a dead environment is free when its lease ends."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from common.api.held_calls import HoldLimits
from common.domain.errors import StoreUnavailable
from common.domain.rate_limits import tenant_scope
from common.store import keys
from common.store.client import Client, redis_errors
from common.store.scripts import ScriptCall, Scripts, read_sources


class HeldCallStore:
    """Keep one sorted set of held calls for each tenant and one for all, timed by the server's clock."""

    def __init__(
        self, client: Client, limits: HoldLimits, scripts: Scripts | None = None, *, group: str | None = None
    ) -> None:
        """Create the store.

        Args:
            client: an open client, which the caller closes.
            limits: the held calls of one tenant and of all.
            scripts: scripts with another clock, for tests.
            group: a name for calls that have limits of their own; None for those of the task API.

        """
        self._client = client
        self._scripts = scripts or Scripts(read_sources())
        self._limits = limits
        self._prefix = "" if group is None else f"{group}/"

    @asynccontextmanager
    async def holding(self, tenant: str) -> AsyncGenerator[bool]:
        """Yield whether a call of this tenant may be held, and keep its place until the block ends.

        Never raises: where Redis does not answer the call is not held.
        """
        call = secrets.token_hex(16)
        try:
            is_held = await self.acquire(tenant, call)
        except StoreUnavailable:
            is_held = False
        try:
            yield is_held
        finally:
            if is_held:
                await self.release(tenant, call)

    async def acquire(self, tenant: str, call: str) -> bool:
        """Take or renew the place of a call until its lease ends, and return whether it has one.

        Raises:
            StoreUnavailable: Redis does not answer.

        """
        # The tenant's first: a tenant that is at its limit takes no place from the others.
        for key, most in self._places(tenant):
            try:
                has_place = await self._acquire(key, call, most)
            except StoreUnavailable:
                await self.release(tenant, call)
                raise
            if not has_place:
                await self.release(tenant, call)
                return False
        return True

    async def release(self, tenant: str, call: str) -> None:
        """Give the place of a call back. Never raises: what is not released is free when its lease ends."""
        calls = [ScriptCall("release_hold", [key], {"call": call}) for key, _ in self._places(tenant)]
        with suppress(StoreUnavailable), redis_errors():
            await self._scripts.run_many(self._client, calls)

    def _places(self, tenant: str) -> list[tuple[str, int]]:
        limits = ((tenant_scope(tenant), self._limits.tenant), (keys.ALL_TENANTS, self._limits.total))
        return [(keys.held_key(f"{self._prefix}{scope}"), most) for scope, most in limits if most]

    async def _acquire(self, key: str, call: str, most: int) -> bool:
        acquire = ScriptCall("acquire_hold", [key], {"call": call, "limit": most, "lease_ms": keys.HOLD_LEASE_MS})
        with redis_errors():
            return int(await self._scripts.run(self._client, acquire)) == 1
