"""Remember which idempotency key the first try of a request has, so that its transport retries join it."""

from common.store import codec, keys
from common.store.client import Client, redis_errors


class TransportRetryStore:
    """Keep one string for each tenant and digest of a request, for FIRST_TRY_KEPT_MS.

    Each method is one command, and raises StoreUnavailable where Redis does not answer.
    """

    def __init__(self, client: Client) -> None:
        """Take an open client, which the caller closes."""
        self._client = client

    async def record_first_try(self, tenant: str, digest: str, key: str) -> None:
        """Record the idempotency key of a first try; retries join the latest one."""
        with redis_errors():
            await self._client.set(keys.first_try_key(tenant, digest), key, px=keys.FIRST_TRY_KEPT_MS)

    async def find_first_try(self, tenant: str, digest: str, key: str) -> str:
        """Return the idempotency key of the first try; without one record `key`, and return that."""
        with redis_errors():
            found = await self._client.set(
                keys.first_try_key(tenant, digest), key, nx=True, get=True, px=keys.FIRST_TRY_KEPT_MS
            )
        return codec.read_text(found) if isinstance(found, bytes) else key
