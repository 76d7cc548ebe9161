"""Work on the messages of one invocation, several at a time, and say which have to come back.

One delivery's way is told in attempt.py; here is what the deliveries share: slots, time and order.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from common.errors import Unavailable
from functions.worker.attempt import Attempts
from functions.worker.delivery import Delivery, Ending, EndingKind
from functions.worker.window import Window

QUEUE_END_SECONDS: Final = 0.5
"""Before the hard end, the latest moment at which we still wait for the queue: our answer must get out."""


class PutBacks(Protocol):
    """Say when messages become visible again. A failure is the adapter's to log: the queue's own timeout applies."""

    async def put_back(self, waits: Sequence[tuple[Delivery, float]]) -> None:
        """Make each message visible again in so many seconds."""


class Journal(Protocol):
    """Note what happened, without a word of prompt or answer."""

    def ended(self, delivery: Delivery, ending: Ending) -> None:
        """Note how a delivery ended."""


class Worker:
    """Work on invocations, one after the other, for the life of the environment."""

    def __init__(
        self, attempts: Attempts, queue: PutBacks, journal: Journal, *, concurrency: int, margin_seconds: float
    ) -> None:
        """Take the collaborators, how many deliveries may run at once, and how early calls stop."""
        self._attempts = attempts
        self._queue = queue
        self._journal = journal
        self._slots = asyncio.Semaphore(concurrency)
        self._margin_seconds = margin_seconds

    async def work(self, deliveries: Sequence[Delivery], remaining_seconds: float) -> list[Delivery]:
        """Work on a batch and return what has to come back; nothing of it runs on when this returns.

        Fresh deliveries run side by side. Suspects run after them, each alone: a prompt that kills its worker then
        costs attempts of its own only.
        """
        window = Window.opening(remaining_seconds, self._margin_seconds)
        self._attempts.pace.open_window()
        fresh = [delivery for delivery in deliveries if not delivery.is_suspect]
        suspects = [delivery for delivery in deliveries if delivery.is_suspect]
        can_call = await self._can_call(window)
        async with self._attempts.board.running(until=window.writes_end):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._work_on(delivery, window, can_call=can_call)) for delivery in fresh]
            endings = [(delivery, task.result()) for delivery, task in zip(fresh, tasks, strict=True)]
            endings += [(each, await self._work_on(each, window, can_call=can_call)) for each in suspects]
        return await self._put_back(endings, window)

    async def _can_call(self, window: Window) -> bool:
        try:
            async with asyncio.timeout_at(window.stop_at):
                await self._attempts.model.prepare()
        except (Unavailable, TimeoutError):
            return False
        return True

    async def _work_on(self, delivery: Delivery, window: Window, *, can_call: bool) -> Ending:
        """See one delivery to its end, and note it. Never raises: its neighbours go on."""
        wait = self._attempts.backoff.after_receive(delivery.receives)
        try:
            ending = await self._with_slot(delivery, window) if can_call else Ending(EndingKind.UNAVAILABLE, wait)
        except Exception as error:  # noqa: BLE001  # noted with its place; the delivery comes back
            ending = Ending(EndingKind.CRASHED, wait, error=error)
        self._journal.ended(delivery, ending)
        return ending

    async def _with_slot(self, delivery: Delivery, window: Window) -> Ending:
        unstarted = Ending(EndingKind.UNSTARTED, visible_in=0.0)
        try:
            async with asyncio.timeout_at(window.stop_at):
                await self._slots.acquire()
        except TimeoutError:
            return unstarted
        try:
            if not self._attempts.pace.fits(window.seconds_to_stop):
                return unstarted
            return await self._attempts.make(delivery, window)
        finally:
            self._slots.release()

    async def _put_back(self, endings: Sequence[tuple[Delivery, Ending]], window: Window) -> list[Delivery]:
        waits = [(delivery, ending.visible_in) for delivery, ending in endings if ending.visible_in is not None]
        if waits:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(window.hard_end - QUEUE_END_SECONDS):
                    await self._queue.put_back(waits)
        return [delivery for delivery, _ in waits]
