"""Reach the provider: its key, its address, and what goes wrong on the way as a ModelError."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import httpx2
from openai import APIConnectionError, APIStatusError, OpenAIError

from common.errors import ModelFailed, ModelRefused, Unavailable
from common.tasks import FailureCode
from common.work.verdicts import codes_of, judge

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

CONNECT_SECONDS: Final = 10.0
"""Seconds to reach the provider; reading has the whole time of the call."""

KEY_SECONDS: Final = 60
"""Seconds for which the API key is kept, at most: a rotated key is taken up within a minute."""

REFUSED_SECONDS: Final = 10
"""A key that the provider refuses is fetched again, but no oftener: a wrong one must not cost a fetch for each task."""

SECRETS_SECONDS: Final = 5
"""Seconds that one try to read the key may take to connect, and to read."""

OPENAI_URL: Final = "https://api.openai.com/v1"
"""Where a call goes without a base URL of the operator's. Said here: the SDK would take an empty OPENAI_BASE_URL."""


class KeySource(Protocol):
    """Give the API key; both may raise Unavailable."""

    async def __call__(self) -> str:
        """Return it."""

    async def renewed(self, refused: str) -> bool:
        """Hear of a key that was refused, and tell whether there is another one by now."""


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn what the SDK and its HTTP client raise into a ModelError, without their texts and without them as cause."""
    try:
        yield
    except APIStatusError as error:
        raise judge(error.status_code, error.response.headers, codes_of(error.body), datetime.now(UTC)) from None
    except APIConnectionError as error:  # also the base of the SDK's timeout
        raise ModelFailed(_connection_code(error.__cause__)) from None
    except httpx2.HTTPError as error:  # while the answer is read, the SDK does not wrap its client's errors
        raise ModelFailed(_connection_code(error)) from None
    except UnicodeEncodeError:  # a prompt that no HTTP body can carry
        raise ModelRefused(FailureCode.BAD_REQUEST) from None
    except (OpenAIError, httpx2.StreamError):
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None


def _connection_code(error: BaseException | None) -> FailureCode:
    # aiohttp's "the server hung up" reaches us as httpx2.ConnectTimeout, so only the read's timeout is one of the call.
    return FailureCode.TIMEOUT if isinstance(error, httpx2.ReadTimeout) else FailureCode.CONNECTION


class SecretKey:
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
            async with self._fetching:  # one for all calls that need it now, be it that it brings the key or fails
                if asked_at <= self._failed_at:
                    raise Unavailable
                if asked_at >= self._fresh_until:
                    await self._renew(asked_at)
        return self._key

    async def renewed(self, refused: str) -> bool:
        """Fetch a key anew that the provider has refused, and tell whether there is another one by now.

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
            self._key = await asyncio.to_thread(self._fetch)
        except Exception as error:  # noqa: BLE001  # botocore and Powertools raise many kinds
            self._failed_at = _wall_seconds()
            raise Unavailable(type(error).__name__) from None
        self._fresh_until = asked_at + KEY_SECONDS

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
