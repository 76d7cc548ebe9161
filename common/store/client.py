"""Make the Redis client, and turn every error of its library into StoreUnavailable."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.credentials import CredentialProvider

from common.domain.errors import StoreUnavailable
from common.runtime.settings import RedisSettings
from common.runtime.snapstart import prepare_for_snapshots

if TYPE_CHECKING:
    from common.store.iam import Renewal

type Client = Redis | RedisCluster

RETRIES: Final = 2
"""Three tries in all. redis-py's own ten could outlast an API call, and each may apply a command once more."""

BACKOFF_BASE_SECONDS: Final = 0.05
BACKOFF_CAP_SECONDS: Final = 0.5
"""Full jitter between the tries; short, as a caller is waiting."""

SOCKET_TIMEOUT_SECONDS: Final = 2.0
"""Redis answers in milliseconds; three of these and the pauses still fit an API call."""

HEALTH_CHECK_SECONDS: Final = 30
"""Ping a connection that was idle for so long: Lambda freezes environments, and the peer hangs up meanwhile."""

MAX_CONNECTIONS: Final = 1_000
"""More than any environment's concurrency: over it redis-py raises instead of waiting."""

RESP_VERSION: Final = 2
"""Nothing here needs RESP3, and without it a connection is open one round trip sooner."""

_RENEWALS: Final[WeakKeyDictionary[Client, "Renewal"]] = WeakKeyDictionary()
"""Those clients that sign in by IAM, each with what keeps its connections young."""


def connect(settings: RedisSettings, *, credential_provider: CredentialProvider | None = None) -> Client:
    """Return a client for a single server or a cluster; nothing is sent before its first use.

    A credential provider stands instead of the user name of the settings; with IAM on, there is one by itself.
    """
    prepare_for_snapshots()
    renewal = None
    if settings.iam is not None:
        from common.store import iam  # noqa: PLC0415  # it brings botocore

        credential_provider = credential_provider or iam.credentials_of(settings)
        renewal = iam.Renewal()
    username = None if credential_provider else settings.username
    retry = Retry(ExponentialWithJitterBackoff(base=BACKOFF_BASE_SECONDS, cap=BACKOFF_CAP_SECONDS), RETRIES)
    kind = RedisCluster if settings.cluster else Redis
    client: Client = kind(
        host=settings.host,
        port=settings.port,
        ssl=settings.tls,
        username=username,
        credential_provider=credential_provider,
        retry=retry,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        health_check_interval=HEALTH_CHECK_SECONDS,
        max_connections=MAX_CONNECTIONS,
        protocol=RESP_VERSION,
    )
    if renewal is not None:
        _RENEWALS[client] = renewal
    return client


async def renew(client: Client) -> None:
    """Replace the client's connections before they get as old as ElastiCache allows; without IAM they may."""
    if (renewal := _RENEWALS.get(client)) is not None:
        await renewal.apply(client)


REDIS_ERRORS: Final[tuple[type[Exception], ...]] = (
    exceptions.RedisError,
    exceptions.RedisClusterException,
    exceptions.ChildDeadlockedError,
    exceptions.IncorrectPolicyType,
    OSError,  # a socket's error that redis-py did not wrap; TimeoutError is one of them
)
"""The roots of everything that redis-py raises."""


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise StoreUnavailable for any error of the Redis library.

    Raises:
        StoreUnavailable: it names the class of the error; the error itself is its cause.

    """
    try:
        yield
    except REDIS_ERRORS as error:
        raise StoreUnavailable(type(error).__name__) from error
