"""Hold the response to an accepted call until its tasks have ended."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from common.api.long_poll import WaitOutcome, WaitPreference
from common.domain.errors import StoreUnavailable
from common.domain.task import TaskRef
from common.runtime.metrics import Metric


class TaskWaiter(Protocol):
    """Wait for tasks. Raises StoreUnavailable where Redis does not answer."""

    async def wait(
        self, refs: Sequence[TaskRef], preference: WaitPreference, *, spent_seconds: float = 0.0
    ) -> WaitOutcome:
        """Wait until the tasks of one tenant have ended, or the preferred time is over."""


class HeldCallService:
    """Hold accepted calls, and show their tasks afterwards."""

    def __init__(self, waiter: TaskWaiter, *, count: Callable[[Metric], object]) -> None:
        """Create the service.

        Args:
            waiter: waits for tasks, within the limits of held calls.
            count: counts the calls that could not be held.

        """
        self._waiter = waiter
        self._count = count

    async def show[Shown](
        self,
        refs: Sequence[TaskRef],
        preference: WaitPreference,
        show: Callable[[], Awaitable[Shown]],
        *,
        spent_seconds: float = 0.0,
    ) -> Shown | None:
        """Wait for the tasks of an accepted call, then return what `show` reads of them.

        Args:
            refs: the tasks.
            preference: how long the caller prefers to wait, and for what.
            show: reads the tasks; it may raise StoreUnavailable.
            spent_seconds: the part of the preferred time that has passed.

        Returns:
            None where the caller does not wait, where the limit of held calls is reached, or where Redis does not
            answer. The call is accepted all the same: the caller gets the IDs of its tasks, because it would repeat
            a call that fails.

        """
        if not preference.seconds:
            return None
        try:
            outcome = await self._waiter.wait(refs, preference, spent_seconds=spent_seconds)
            if outcome is WaitOutcome.NOT_HELD:
                self._count(Metric.UNHELD)
                return None
            return await show()
        except StoreUnavailable:
            return None
