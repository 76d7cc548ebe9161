"""Read the provider's key."""

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

from common.domain.errors import Unavailable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

KEY_SECONDS: Final = 60
"""Seconds for which the API key is kept, at most: a rotated key is taken up within a minute."""

REFUSED_SECONDS: Final = 10
"""A key that the provider refuses is fetched again, but no oftener: a wrong one must not cost a fetch for each task."""

SECRETS_SECONDS: Final = 5
"""Seconds that one try to read the key may take to connect, and to read."""


class KeySource(Protocol):
    """Give the API key; both may raise Unavailable."""

    async def __call__(self) -> str:
        """Return it."""

    async def renewed(self, refused: str) -> bool:
        """Report that a key was refused, and return whether there is another one by now."""


class ProviderKey:
    """Read the API key from Secrets Manager, by the secret's name or ARN, when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._provider: SecretsProvider | None = None
        self._fetching = asyncio.Lock()
        self._key = ""
        self._fresh_until = float("-inf")
        self._failed_at = float("-inf")
        self._refused_at = float("-inf")

    async def __call__(self) -> str:
        """Return the key, at most KEY_SECONDS old; raise Unavailable where it cannot be read."""
        asked_at = _wall_seconds()
        if asked_at >= self._fresh_until:
            async with self._fetching:  # one fetch for all calls that need the key now, also if it fails
                if asked_at <= self._failed_at:
                    raise Unavailable
                if asked_at >= self._fresh_until:
                    await self._renew(asked_at)
        return self._key

    async def renewed(self, refused: str) -> bool:
        """Fetch again a key that the provider refused, and return whether there is another one by now.

        Raises:
            Unavailable: it cannot be read.

        """
        async with self._fetching:
            now = _wall_seconds()
            if self._key == refused and now >= self._refused_at + REFUSED_SECONDS:
                self._refused_at = now
                await self._renew(now)
            return self._key != refused

    async def _renew(self, asked_at: float) -> None:
        try:
            key = await asyncio.to_thread(self._fetch)
        except Exception as error:  # noqa: BLE001  # botocore and Powertools raise many kinds
            self._failed_at = _wall_seconds()
            raise Unavailable(type(error).__name__) from None
        if not (key.isascii() and key.isprintable() and " " not in key and key):
            # No header can carry it, so that each call would fail before it is sent.
            self._failed_at = _wall_seconds()
            raise Unavailable("UnusableKey")
        self._key, self._fresh_until = key, asked_at + KEY_SECONDS

    def _fetch(self) -> str:
        if self._provider is None:
            # Imported here: boto3 costs a cold start what it does not need before the first record.
            from aws_lambda_powertools.utilities.parameters import SecretsProvider  # noqa: PLC0415
            from botocore.config import Config  # noqa: PLC0415

            # botocore's own minute for each of five tries would outlast the invocation where there is no way out.
            self._provider = SecretsProvider(
                boto_config=Config(connect_timeout=SECRETS_SECONDS, read_timeout=SECRETS_SECONDS)
            )
        return str(self._provider.get(self._name, force_fetch=True)).strip()


def _wall_seconds() -> float:
    """Return the time that also passes while an environment is frozen."""
    return time.time()
