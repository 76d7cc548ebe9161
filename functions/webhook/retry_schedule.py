"""Define the retry schedule of deliveries. All times in seconds."""

from collections.abc import Callable
from typing import Final

MOST_SECONDS: Final = 86_400
"""Maximum age of an event at its last try, from its send to the queue."""

WAITS: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400)
"""Delay after the first try, the second and so on; the last value repeats. A short outage delays an event only briefly,
and a day has fewer tries than the queue's twenty receives."""

JITTER: Final = 0.1
"""Relative jitter of a delay, so that events that failed together are not retried together."""


class RetrySchedule:
    """Return delays with jitter; `random` returns a number from 0 to 1."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def wait_after(self, receives: int, age: float) -> float | None:
        """Return the delay after the n-th receive of an event of this age; None after the last try.

        The last try is at the maximum age.
        """
        left = MOST_SECONDS - age
        if left < 1:
            return None
        wait = WAITS[min(receives, len(WAITS)) - 1] * (1 - JITTER + 2 * JITTER * self._random())
        return min(wait, left)
