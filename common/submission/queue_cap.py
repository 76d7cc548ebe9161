"""Limit the tasks in a queue, waiting or running: of all tenants together, and of each tenant to its share."""

from collections.abc import Sequence
from typing import Final, Protocol

from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.errors import RequestTooLarge
from common.domain.task import TaskRef
from common.submission.admission import QueueFull, QueueShareFull

WHOLE: Final = 100
"""The share, in percent, at which no tenant has a share of its own, and nothing is counted."""


class Depth(Protocol):
    """Measure the depth of a queue. May raise QueueUnavailable."""

    async def current(self) -> int:
        """Return how many tasks it holds."""

    def seconds_to_drain(self, tasks: int) -> int:
        """Estimate the seconds until it holds so many fewer tasks."""


class Backlog(Protocol):
    """Count a tenant's tasks in a queue. Each method raises StoreUnavailable where Redis does not answer."""

    async def reserve(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, limit: QueueLimit) -> int:
        """Reserve places for a batch and return 0; else return how many tasks are too many."""

    async def confirm(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent."""

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        """Release places."""


class QueueCap:
    """Enforce the cap of one queue, and each tenant's share of it."""

    def __init__(self, queue: BacklogQueue, depth: Depth, backlog: Backlog, *, most: int, share: int) -> None:
        """Create the cap.

        Args:
            queue: the queue.
            depth: measures its depth.
            backlog: counts each tenant's tasks in it.
            most: the cap, in tasks.
            share: the share of one tenant, in percent.

        """
        self._queue = queue
        self._depth = depth
        self._backlog = backlog
        self._most = most
        self._share = share

    async def check(self, size: int) -> None:
        """Check that the queue has room for a call.

        Raises:
            RequestTooLarge: the call exceeds the share of an empty queue.
            QueueFull: the queue has no room now.
            QueueUnavailable: SQS does not answer.

        """
        most = self._most * self._share // 100
        if size > most:
            raise RequestTooLarge(
                f"the call has {size} tasks; the queue takes at most {most} of one tenant: send smaller calls",
                code="exceeds_queue_share",
            )
        excess = await self._depth.current() + size - self._most
        if excess > 0:
            raise QueueFull("the queue is full; retry later", self._depth.seconds_to_drain(excess))

    async def reserve(self, tenant: str, batch_id: str, size: int) -> None:
        """Reserve places for a batch before it is sent; unconfirmed places expire.

        Raises:
            QueueShareFull: the tenant's share of the queue is full.
            QueueUnavailable, StoreUnavailable: a dependency does not answer.

        """
        if self._share == WHOLE:
            return
        limit = QueueLimit(await self._depth.current(), self._most, self._share)
        excess = await self._backlog.reserve(tenant, self._queue, batch_id, size, limit)
        if excess > 0:
            raise QueueShareFull(
                "your tasks fill your share of the queue; retry when some have ended",
                self._depth.seconds_to_drain(excess),
            )

    async def confirm(self, tenant: str, batch_id: str, size: int, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent; may raise StoreUnavailable."""
        if self._share < WHOLE:
            await self._backlog.confirm(tenant, self._queue, batch_id, size, deadline_ms)

    async def release(self, refs: Sequence[TaskRef]) -> None:
        """Release the places of a batch that could not be sent; may raise StoreUnavailable."""
        if self._share < WHOLE:
            await self._backlog.remove(self._queue, refs)
