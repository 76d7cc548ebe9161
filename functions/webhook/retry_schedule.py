"""Say when a delivery is tried again. All times in seconds."""

from collections.abc import Callable
from typing import Final

MOST_SECONDS: Final = 86_400
"""From when the event was sent to its queue until the last try."""

WAITS: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400)
"""After the first try, the second and so on; the last one from then on. A short outage costs little, a long one few
tries, and all of them together stay below the queue's twenty receives."""

JITTER: Final = 0.1
"""Share by which a wait is stretched or cut, so that what failed together does not come back together."""


class RetrySchedule:
    """Draw waits; `random` returns a number from 0 up to 1."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def wait_after(self, receives: int, age: float) -> float | None:
        """Return how long to wait after the n-th receive of an event of this age; None where that was the last try.

        The last one is due when the time is over, and not before.
        """
        left = MOST_SECONDS - age
        if left < 1:
            return None
        wait = WAITS[min(receives, len(WAITS)) - 1] * (1 - JITTER + 2 * JITTER * self._random())
        return min(wait, left)
