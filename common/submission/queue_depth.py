"""Measure the depth of a queue: the last count of SQS, and what this environment has sent since."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from common.domain.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

KEPT_SECONDS: Final = 5.0
"""How long a count of SQS is used; each environment has its own."""

LEAST_WAIT_SECONDS: Final = 5
MOST_WAIT_SECONDS: Final = 600
"""Bounds of the `Retry-After` that is sent."""

UNKNOWN_WAIT_SECONDS: Final = 60
"""The `Retry-After` while the queue does not get shorter, or was counted only once."""

_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class _Count:
    depth: int
    at: float


class QueueDepth:
    """Measure the depth of one queue; a message counts until it is deleted, also while it is in flight or delayed."""

    def __init__(self, client: "SQSClient", url: str, *, clock: Callable[[], float]) -> None:
        """Create it with a boto3 client, the queue's URL, and a monotonic clock in seconds."""
        self._client = client
        self._url = url
        self._clock = clock
        self._last: _Count | None = None
        self._drained = 0.0
        self._sent = 0
        self._lock = asyncio.Lock()

    def sent(self, messages: int) -> None:
        """Add messages that were sent since SQS has counted."""
        self._sent += messages

    async def current(self) -> int:
        """Return how many messages are in the queue.

        Raises:
            QueueUnavailable: SQS does not answer.

        """
        count = await self._count()
        return count.depth + self._sent

    def seconds_to_drain(self, messages: int) -> int:
        """Estimate the seconds until the queue is shorter by so many messages."""
        wait = messages / self._drained if self._drained > 0 else UNKNOWN_WAIT_SECONDS
        return math.ceil(min(MOST_WAIT_SECONDS, max(LEAST_WAIT_SECONDS, wait)))

    async def _count(self) -> _Count:
        async with self._lock:
            now, last = self._clock(), self._last
            if last is not None and now - last.at < KEPT_SECONDS:
                return last
            try:
                answer = await asyncio.to_thread(
                    self._client.get_queue_attributes, QueueUrl=self._url, AttributeNames=list(_COUNTS)
                )
            except (BotoCoreError, ClientError) as error:
                raise QueueUnavailable(type(error).__name__) from error
            count = _Count(sum(int(answer["Attributes"][name]) for name in _COUNTS), now)
            if last is not None:
                # Messages per second by which it got shorter, net of all sends.
                self._drained = max(0.0, (last.depth - count.depth) / (now - last.at))
            self._last, self._sent = count, 0
            return count
