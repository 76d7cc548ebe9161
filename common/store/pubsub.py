"""Subscribe to the ends of tasks, by sharded pub/sub: the script that ends a task publishes to its batch's channel.

A call that waits opens its own subscriptions and closes them at its end. A Lambda environment serves one call at a
time, so that is one connection to each server that has one of the batches, and nothing that could die while frozen.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from redis.asyncio import RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterPubSub

from common.domain.task import TaskRef
from common.store import keys
from common.store.client import REDIS_ERRORS, Client

SUBSCRIBE_SECONDS: Final = 2.0
"""How long a subscription may take. Without one the caller's own looks find what has changed, only later."""

_READ_SECONDS: Final = 1.0
"""Of one read; redis-py begins the next by itself."""


class ChannelNotification:
    """Record that a message arrived since the last wait."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    def notify(self) -> None:
        """Note that something has changed."""
        self._heard.set()

    async def wait(self, seconds: float) -> None:
        """Return when something was heard, or when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        self._heard.clear()


class TaskNotifications:
    """Listen to the channels of batches, on a single server as on a cluster."""

    def __init__(self, client: Client) -> None:
        """Take an open client, which the caller closes."""
        self._client = client

    @asynccontextmanager
    async def subscribe(
        self, batches: Iterable[tuple[str, str]], steps: Iterable[TaskRef] = ()
    ) -> AsyncGenerator[ChannelNotification]:
        """Listen to ends in batches, each by its tenant and its id, and to all steps of single tasks.

        What changes once the block has begun is heard.

        Never raises: a connection that fails is deaf, and who listens must look for himself from time to time.
        """
        notification = ChannelNotification()
        async with AsyncExitStack() as stack:
            readers = []
            for channels in self._by_server(
                {*(keys.channel(*batch) for batch in batches), *map(keys.step_channel, steps)}
            ):
                pubsub = self._client.pubsub()
                stack.push_async_callback(_close, pubsub)
                subscribed = asyncio.get_running_loop().create_future()
                readers.append(asyncio.create_task(_read(pubsub, channels, subscribed, notification)))
                stack.push_async_callback(_end, readers[-1])
                with suppress(TimeoutError):
                    async with asyncio.timeout(SUBSCRIBE_SECONDS):
                        await subscribed
            yield notification

    def _by_server(self, channels: set[str]) -> Iterable[list[str]]:
        if not isinstance(self._client, RedisCluster):
            return [sorted(channels)]
        # One subscriber for each: redis-py's reads the servers of one in turn, and would be deaf to all but one.
        by_node: defaultdict[str, list[str]] = defaultdict(list)
        for channel in sorted(channels):
            node = self._client.get_node_from_key(channel)
            by_node[node.name if node else ""].append(channel)
        return by_node.values()


async def _read(
    pubsub: PubSub, channels: list[str], subscribed: asyncio.Future[None], notification: ChannelNotification
) -> None:
    try:
        await pubsub.ssubscribe(*channels)
        left = len(channels)
        while pubsub.subscribed:
            message = await _message_of(pubsub)
            if message is None:
                continue
            if message["type"] == "smessage":
                notification.notify()
            elif message["type"] == "ssubscribe":
                left -= 1
                if left == 0:
                    _settle(subscribed)
                elif left < 0:
                    notification.notify()  # redis-py has connected again: something may have been missed meanwhile
    except REDIS_ERRORS:
        _settle(subscribed)


async def _message_of(pubsub: PubSub) -> dict[str, Any] | None:
    if isinstance(pubsub, ClusterPubSub):
        return await pubsub.get_sharded_message(timeout=_READ_SECONDS)
    message: dict[str, Any] | None = await pubsub.get_message(timeout=_READ_SECONDS)
    return message


def _settle(subscribed: asyncio.Future[None]) -> None:
    if not subscribed.done():
        subscribed.set_result(None)


async def _end(reader: asyncio.Task[None]) -> None:
    reader.cancel()
    await asyncio.wait({reader})


async def _close(pubsub: PubSub) -> None:
    with suppress(*REDIS_ERRORS):
        await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py's
