"""Extend the visibility timeout of an invocation's messages while it works on them, for a short time at each heartbeat.

When a worker dies, its messages are visible as soon as the time of its last heartbeat is over. Its leases, which
progress.py renews, have expired by then. Until the first heartbeat the queue's own visibility timeout applies, so an
invocation that is over by then makes no request for this.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from common.worker.deadlines import InvocationDeadlines
from common.worker.message import ReceivedMessage

TOLERANCE_SECONDS: Final = 1.0
"""SQS counts whole seconds: a message whose visibility is as near as this to what it should be is left alone."""


class VisibilityExtender(Protocol):
    """Hide messages. A failure is the adapter's to log: the time that was set before applies."""

    async def extend_visibility(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        """Hide each message for so many seconds from now on."""


class Heartbeat:
    """Send the heartbeats of one invocation."""

    def __init__(
        self, queue: VisibilityExtender, deliveries: Sequence[ReceivedMessage], deadlines: InvocationDeadlines
    ) -> None:
        self._queue = queue
        self._deadlines = deadlines
        self._deliveries = {delivery.message_id: delivery for delivery in deliveries}
        self._done: set[str] = set()
        self._hidden_until: dict[str, float] = {}

    def done(self, delivery: ReceivedMessage) -> None:
        """Note that a message will be deleted: it stays hidden until the invocation has ended."""
        self._done.add(delivery.message_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send heartbeats for the length of the block."""
        async with repeated(self._beat, self._deadlines.beat_seconds, until=self._deadlines.writes_end):
            yield

    async def _beat(self) -> None:
        now, end = _now(), self._deadlines.lease_end
        waits: list[tuple[ReceivedMessage, float]] = []
        for message_id, delivery in self._deliveries.items():
            target = end if message_id in self._done else now + self._deadlines.hidden_seconds
            if abs(target - self._hidden_until.get(message_id, end)) > TOLERANCE_SECONDS:
                self._hidden_until[message_id] = target
                waits.append((delivery, target - now))
        if waits:
            await self._queue.extend_visibility(waits)


@asynccontextmanager
async def repeated(act: Callable[[], Awaitable[None]], every: float, *, until: float) -> AsyncIterator[None]:
    """Do something every so many seconds while the block lasts; one that has begun is awaited, `until` at most."""
    over = asyncio.Event()

    async def repeat() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), every)
            if not over.is_set():
                await act()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        over.set()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await task


def _now() -> float:
    return asyncio.get_running_loop().time()
