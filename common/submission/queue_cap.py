"""Limit the tasks in a queue, waiting or running: of all tenants together, and of each tenant to its share."""

from collections.abc import Sequence
from typing import Final, Protocol

from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.errors import RequestTooLarge
from common.domain.task import TaskRef
from common.submission.admission import QueueFull, QueueShareFull

WHOLE: Final = 100
"""The share, in percent, at which tenants have none of their own, and nobody counts."""


class Depth(Protocol):
    """Know the depth of a queue. May raise QueueUnavailable."""

    async def current(self) -> int:
        """Return how many tasks it holds."""

    def seconds_to_drain(self, tasks: int) -> int:
        """Guess in how many seconds it holds so many fewer."""


class Backlog(Protocol):
    """Count a tenant's tasks in a queue. Each method raises StoreUnavailable where Redis does not answer."""

    async def reserve(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, limit: QueueLimit) -> int:
        """Reserve places for a batch, and return 0; else by how many tasks there are too many."""

    async def confirm(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent."""

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        """Give places back."""


class QueueCap:
    """Hold one queue to its cap, and each tenant to its share of it."""

    def __init__(self, queue: BacklogQueue, depth: Depth, backlog: Backlog, *, most: int, share: int) -> None:
        """Take the queue, what knows its depth and its tenants, the cap in tasks, and a tenant's share in percent."""
        self._queue = queue
        self._depth = depth
        self._backlog = backlog
        self._most = most
        self._share = share

    async def check(self, size: int) -> None:
        """Check that the queue has room for a call.

        Raises:
            RequestTooLarge: it would not even have room if it was empty.
            QueueFull: it has none now.
            QueueUnavailable: SQS does not tell.

        """
        most = self._most * self._share // 100
        if size > most:
            raise RequestTooLarge(
                f"the call has {size} tasks, and the queue takes at most {most} of one tenant",
                code="exceeds_queue_share",
            )
        excess = await self._depth.current() + size - self._most
        if excess > 0:
            raise QueueFull("the queue is as deep as this service allows", self._depth.seconds_to_drain(excess))

    async def reserve(self, tenant: str, batch_id: str, size: int) -> None:
        """Reserve places for a batch that is about to be sent; those that are not confirmed expire.

        Raises:
            QueueShareFull: its tenant has its share of the queue.
            QueueUnavailable, StoreUnavailable: nobody can say.

        """
        if self._share == WHOLE:
            return
        limit = QueueLimit(await self._depth.current(), self._most, self._share)
        excess = await self._backlog.reserve(tenant, self._queue, batch_id, size, limit)
        if excess > 0:
            raise QueueShareFull(
                "your tasks take up your share of the queue; the rest is kept free for other tenants",
                self._depth.seconds_to_drain(excess),
            )

    async def confirm(self, tenant: str, batch_id: str, size: int, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent; may raise StoreUnavailable."""
        if self._share < WHOLE:
            await self._backlog.confirm(tenant, self._queue, batch_id, size, deadline_ms)

    async def release(self, refs: Sequence[TaskRef]) -> None:
        """Give back the places of a batch that could not be sent; may raise StoreUnavailable."""
        if self._share < WHOLE:
            await self._backlog.remove(self._queue, refs)
