"""Gather script calls that are made at about the same time, and run them in one round trip."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from common.store.client import Client
from common.store.scripts import ScriptCall, Scripts

LINGER_SECONDS: Final = 0.002
"""How long the first call of a trip waits for others: a fifth of a percent of an answer that takes a second."""

MAX_CALLS: Final = 100
"""Calls of one trip: Redis answers nobody else while it runs a script, but does between two."""


class BatchingScripts(Scripts):
    """Run scripts as `Scripts` does, those of many tasks in one pipeline: a worker's tasks begin and end in crowds.

    Each call gets its own answer or error, joint calls that became one get that one's; when a trip fails, so do all its
    calls, and whether they were applied is not known of any.
    """

    def __init__(self, sources: Mapping[str, str], linger_seconds: float = LINGER_SECONDS) -> None:
        """Take the sources as `read_sources` gives them, and how long a trip waits for more calls."""
        super().__init__(sources)
        self._linger_seconds = linger_seconds
        self._open: _Batch | None = None

    async def run(self, client: Client, call: ScriptCall) -> Any:  # noqa: ANN401  # as of the base
        """Run one script together with others and return what it answers."""
        trip = self._open
        if trip is None or trip.client is not client:
            trip = self._open = _Batch(client)
            trip.task = asyncio.create_task(self._run_batch(trip))
        answer = trip.add(call)
        if trip.is_full:
            self._open = None
        try:
            return await answer
        except asyncio.CancelledError:
            if trip.cancel(answer):
                if self._open is trip:
                    self._open = None  # before it has ended: who comes now would wait in vain
                await trip.end()
            raise

    async def _run_batch(self, trip: "_Batch") -> None:
        try:
            await asyncio.sleep(self._linger_seconds)
        finally:
            if self._open is trip:
                self._open = None
        try:
            answers = await self._answers(trip.client, trip.calls)
        except Exception as error:  # noqa: BLE001  # it is each caller's
            answers = [error] * len(trip.calls)
        trip.resolve(answers)


class _Batch:
    """Hold the calls of one round trip, and who waits for their answers."""

    task: asyncio.Task[None]

    def __init__(self, client: Client) -> None:
        self.client = client
        self.calls: list[ScriptCall] = []
        self._joint: dict[object, int] = {}
        self._waiting: list[tuple[asyncio.Future[Any], int]] = []

    @property
    def is_full(self) -> bool:
        return len(self._waiting) == MAX_CALLS

    def add(self, call: ScriptCall) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, self._place_of(call)))
        return answer

    def _place_of(self, call: ScriptCall) -> int:
        """Put a call into the trip and return where its answer will be."""
        place = len(self.calls)
        if call.is_joint:
            known = self._joint.setdefault(call.shared, place)
            if known < place:
                self.calls[known] = self.calls[known].joined_by(call)
                return known
        self.calls.append(call)
        return place

    def resolve(self, answers: Sequence[Any]) -> None:
        for future, place in self._waiting:
            answer = answers[place]
            if future.done():  # who asked has left
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def cancel(self, answer: asyncio.Future[Any]) -> bool:
        """Give up one answer; true where nobody waits for another."""
        answer.cancel()
        return all(future.done() for future, _ in self._waiting)

    async def end(self) -> None:
        """End the trip; nothing of it runs on."""
        if not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])
