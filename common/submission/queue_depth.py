"""Know how deep a queue is, well enough to cap it: SQS is asked once in a while, and our own sends are added."""

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
"""How long a depth that SQS told is believed; each environment asks by itself."""

LEAST_WAIT_SECONDS: Final = 5
MOST_WAIT_SECONDS: Final = 600
"""Bounds of the wait that a caller is told."""

UNKNOWN_WAIT_SECONDS: Final = 60
"""What is told while the queue does not get shorter, or was seen only once."""

_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class _Seen:
    depth: int
    at: float


class QueueDepth:
    """Know the depth of one queue; a message counts until it is gone, also while it runs or waits."""

    def __init__(self, client: "SQSClient", url: str, *, clock: Callable[[], float]) -> None:
        """Take a boto3 client, the queue's URL, and a clock in seconds that never goes back."""
        self._client = client
        self._url = url
        self._clock = clock
        self._seen: _Seen | None = None
        self._drained = 0.0
        self._sent = 0
        self._asking = asyncio.Lock()

    def sent(self, messages: int) -> None:
        """Note what was sent since SQS was asked."""
        self._sent += messages

    async def current(self) -> int:
        """Return how many messages are in the queue.

        Raises:
            QueueUnavailable: SQS does not tell.

        """
        seen = await self._look()
        return seen.depth + self._sent

    def seconds_to_drain(self, messages: int) -> int:
        """Guess in how many seconds the queue gets shorter by so many."""
        wait = messages / self._drained if self._drained > 0 else UNKNOWN_WAIT_SECONDS
        return math.ceil(min(MOST_WAIT_SECONDS, max(LEAST_WAIT_SECONDS, wait)))

    async def _look(self) -> _Seen:
        async with self._asking:
            now, last = self._clock(), self._seen
            if last is not None and now - last.at < KEPT_SECONDS:
                return last
            try:
                answer = await asyncio.to_thread(
                    self._client.get_queue_attributes, QueueUrl=self._url, AttributeNames=list(_COUNTS)
                )
            except (BotoCoreError, ClientError) as error:
                raise QueueUnavailable(type(error).__name__) from error
            seen = _Seen(sum(int(answer["Attributes"][name]) for name in _COUNTS), now)
            if last is not None:
                # By how much it got shorter a second, whoever else has sent meanwhile.
                self._drained = max(0.0, (last.depth - seen.depth) / (now - last.at))
            self._seen, self._sent = seen, 0
            return seen
