"""Make each request safe to repeat, so that a transport retry of an SDK joins the task of its first try.

The SDKs send no Idempotency-Key, only how often they have tried: `x-stainless-retry-count`.
"""

import secrets
from collections.abc import Callable
from typing import Protocol

from common.submission.idempotency import digest_of, read_repeatable
from common.submission.model import IdempotentRequest


class FirstTryStore(Protocol):
    """Remember first tries. Each method raises StoreUnavailable where Redis does not answer."""

    async def record_first_try(self, tenant: str, digest: str, key: str) -> None:
        """Record the idempotency key of a first try; retries join the latest one."""

    async def find_first_try(self, tenant: str, digest: str, key: str) -> str:
        """Return the idempotency key of the first try; without one record `key`, and return that."""


class TransportRetries:
    """Identify requests of any tenant."""

    def __init__(self, first_tries: FirstTryStore, *, new_key: Callable[[], str] = secrets.token_urlsafe) -> None:
        """Create the service; `new_key` returns a key that nobody can guess."""
        self._first_tries = first_tries
        self._new_key = new_key

    async def identify(
        self, tenant: str, endpoint: str, document: object, *, key: str | None, retry_count: int
    ) -> IdempotentRequest:
        """Return what makes a request safe to repeat.

        Args:
            tenant: the tenant.
            endpoint: the path that the request was sent to: the same body for another endpoint is another request.
            document: its body.
            key: its Idempotency-Key, None without one.
            retry_count: how often the SDK has sent it before.

        Raises:
            InvalidRequest: the Idempotency-Key is not one.
            StoreUnavailable: Redis does not answer; nothing was accepted.

        """
        digested = [endpoint, document]
        if repeatable := read_repeatable(key, digested):
            return repeatable
        digest, new_key = digest_of(digested), self._new_key()
        if retry_count:
            return IdempotentRequest(await self._first_tries.find_first_try(tenant, digest, new_key), digest)
        # Before anything is accepted: the connection may die at any moment after that.
        await self._first_tries.record_first_try(tenant, digest, new_key)
        return IdempotentRequest(new_key, digest)
