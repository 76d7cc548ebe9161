"""Sign in to ElastiCache with the function's own role: a token signed on the spot stands for a password.

Nothing is asked of AWS. A token is the signature of a request that is never sent (Signature Version 4), and the cache
checks it. Imported only where IAM is on, for botocore is heavy.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session
from redis.asyncio import RedisCluster
from redis.credentials import CredentialProvider

from common.domain.errors import SettingError
from common.runtime.settings import IamSettings, RedisSettings
from common.store.client import Client

TOKEN_SECONDS: Final = 900
"""How long ElastiCache takes a token, at most. What counts is when a connection signs in, not how long it stays."""

RENEW_SECONDS: Final = 600
"""When a token is replaced: five minutes before its end leave room for clocks that differ."""

CONNECTION_SECONDS: Final = 39_600
"""When connections are replaced: after eleven hours. ElastiCache closes them twelve hours after they signed in."""

type Clock = Callable[[], float]
"""Seconds since 1970: a clock that goes on while Lambda has the environment frozen."""

type Keys = Callable[[], Credentials | None]
"""Find the role's keys. They change as they expire, so they are asked for with each token."""


class IamCredentials(CredentialProvider):
    """Give each new connection the user's name and a token that is still good for some minutes."""

    def __init__(
        self, username: str, cache: IamSettings, *, keys: Keys | None = None, clock: Clock = time.time
    ) -> None:
        """Take whom to sign in as; nothing is signed before the first connection."""
        self._username = username
        self._cache = cache
        self._keys = keys or Session().get_credentials
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0

    async def get_credentials_async(self) -> tuple[str, str]:
        """Return name and token."""
        now = self._clock()
        if now >= self._renew_at:
            # On a thread: under SnapStart the role's keys come from a server beside the function.
            self._token = await asyncio.to_thread(self._sign)
            self._renew_at = now + RENEW_SECONDS
        return self._username, self._token

    def get_credentials(self) -> tuple[str, str]:
        """Return name and a fresh token, for a client that does not run in a loop."""
        return self._username, self._sign()

    def _sign(self) -> str:
        keys = self._keys()
        if keys is None:
            raise SettingError("REDIS_IAM", "needs a role, and there are no keys of one")
        query = {"Action": "connect", "User": self._username}
        if self._cache.is_serverless:
            query["ResourceType"] = "ServerlessCache"
        scheme = "http://"
        request = AWSRequest("GET", f"{scheme}{self._cache.cache_name}/", params=query)
        signer = SigV4QueryAuth(keys, "elasticache", self._cache.region, expires=TOKEN_SECONDS)
        signer.add_auth(request)
        return str(request.url).removeprefix(scheme)


class Renewal:
    """Replace connections before ElastiCache closes them.

    They are closed and opened again, instead of signing in again on the open one: redis-py's cluster client does the
    latter only for those that happen to be idle.
    """

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._due = clock() + CONNECTION_SECONDS

    async def apply(self, client: Client) -> None:
        """Have every open connection replaced, once it is time: the idle ones now, the others after their command."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + CONNECTION_SECONDS
        if isinstance(client, RedisCluster):
            # The node that it asked first for the others has a connection of its own, for the next time it asks.
            for node in [*client.get_nodes(), *client.nodes_manager.startup_nodes.values()]:
                node.update_active_connections_for_reconnect()
                await node.disconnect_free_connections()
        else:
            await client.connection_pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
            await client.connection_pool.disconnect(inuse_connections=False)


def credentials_of(settings: RedisSettings) -> IamCredentials:
    """Return the credentials of settings that have IAM on."""
    if settings.iam is None or settings.username is None:
        raise SettingError("REDIS_IAM", "must be true")
    return IamCredentials(settings.username, settings.iam)
