"""Collect those who ask for a start at one moment: one call asks for all, and no asker owns it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from common.domain.rate_limits import StartRequest


@dataclass(frozen=True, slots=True)
class StartDenied:
    """Return after how many seconds a call may start; that is too long to wait for here."""

    seconds: float
    is_paused: bool


@dataclass(frozen=True, slots=True)
class BookedStart:
    """Hold when a call may start, and by when it must have. A start that is not booked must be requested again then."""

    start_at: float
    start_by: float
    is_booked: bool


class StartBatch:
    """Hold the waiters of one call, which is `task`. The call goes on for the others when one of them is cancelled."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self._waiting: list[tuple[StartRequest, asyncio.Future[BookedStart | StartDenied]]] = []

    def add(self, request: StartRequest) -> asyncio.Future[BookedStart | StartDenied]:
        """Ask for one more start."""
        answer: asyncio.Future[BookedStart | StartDenied] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        return answer

    def close(self) -> list[StartRequest]:
        """Return what those ask for who still wait; from now on nobody joins."""
        self._waiting = [(request, answer) for request, answer in self._waiting if not answer.done()]
        return [request for request, _ in self._waiting]

    def answer(self, slots: Sequence[BookedStart | StartDenied]) -> int:
        """Answer those who still wait, and return the tokens that were booked for the others."""
        unused = 0
        for (request, future), slot in zip(self._waiting, slots, strict=True):
            if not future.done():
                future.set_result(slot)
            else:
                unused += tokens_of(slot, request)
        return unused

    def fail(self, error: Exception) -> None:
        """End the wait of the others with the error."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)

    @property
    def is_left(self) -> bool:
        """Return whether no call waits any more."""
        return all(answer.done() for _, answer in self._waiting)

    async def end(self) -> None:
        """End the call; nothing of it runs on."""
        self.task.cancel()
        await asyncio.wait([self.task])


def tokens_of(slot: BookedStart | StartDenied, request: StartRequest) -> int:
    """Return the tokens that are booked with a slot."""
    return request.tokens if isinstance(slot, BookedStart) and slot.is_booked else 0
