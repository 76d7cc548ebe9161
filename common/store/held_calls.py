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

    def __init__(self, client: Client, limits: HoldLimits, scripts: Scripts | None = None) -> None:
        """Take an open client, which the caller closes; tests hand in scripts with a clock of their own."""
        self._client = client
        self._scripts = scripts or Scripts(read_sources())
        self._limits = limits

    @asynccontextmanager
    async def holding(self, tenant: str) -> AsyncGenerator[bool]:
        """Say whether a call of this tenant may be held, and keep its place until the block ends.

        Never raises: where Redis does not answer the call is not held.
        """
        # The tenant's first: a tenant that is at its limit takes no place from the others.
        limits = [
            (keys.held_key(tenant_scope(tenant)), self._limits.tenant),
            (keys.held_key(keys.ALL_TENANTS), self._limits.total),
        ]
        call, tried = secrets.token_hex(16), list[str]()
        is_held = True
        try:
            for key, most in limits:
                if most and is_held:
                    tried.append(key)
                    is_held = await self._acquire(key, call, most)
        except StoreUnavailable:
            is_held = False
        if not is_held:
            await self._release(tried, call)
            tried.clear()
        try:
            yield is_held
        finally:
            await self._release(tried, call)

    async def _acquire(self, key: str, call: str, most: int) -> bool:
        acquire = ScriptCall("acquire_hold", [key], {"call": call, "limit": most, "lease_ms": keys.HOLD_LEASE_MS})
        with redis_errors():
            return int(await self._scripts.run(self._client, acquire)) == 1

    async def _release(self, tried: list[str], call: str) -> None:
        calls = [ScriptCall("release_hold", [key], {"call": call}) for key in tried]
        # What is not released is free when its lease ends.
        with suppress(StoreUnavailable), redis_errors():
            await self._scripts.run_many(self._client, calls)
