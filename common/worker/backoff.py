"""Compute how long a message stays hidden before it is tried again. All times are in seconds."""

from collections.abc import Callable
from typing import Final

BASE_SECONDS: Final = 1.0
"""Upper bound of the first wait; it doubles from then on."""

ATTEMPT_CAP_SECONDS: Final = 300.0
"""Longest wait between two paid attempts."""

RECEIVE_CAP_SECONDS: Final = 900.0
"""Longest wait where no attempt was made. Twenty receives are all a message has, and they should last for hours."""

UNACCEPTED_SECONDS: Final = (1.0, 8.0)
"""Shortest and longest wait of a task whose call is not accepted yet."""

REFUSAL_CAP_SECONDS: Final = 60.0
"""Longest wait after a refusal for a rate, where nothing else asks for more: limits are per minute."""

LOST_SECONDS: Final = 5.0
"""Wait after a lost lease: the next claim decides what the task has become."""

REWRITE_SECONDS: Final = 0.5
"""Least wait between two tries of a write that the store did not take; at most its double."""

_RETRY_AFTER_JITTER: Final = 0.1
"""Share by which a wait that the provider asked for is stretched, so that not all come back together."""


class Backoff:
    """Draw waits with full jitter; `random` returns a number from 0 up to 1."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def after_attempt(self, attempt: int, asked: float | None) -> float:
        """Wait after the n-th paid attempt: what the provider asked for, or a growing random time."""
        if asked is not None:
            return self._stretched(asked)
        return self._drawn(attempt, ATTEMPT_CAP_SECONDS)

    def after_receive(self, receives: int, asked: float | None = None) -> float:
        """Wait after the n-th receive that led to no paid attempt; never less than the provider asked for.

        It grows even where the provider asks for little: each receive brings the dead-letter queue nearer.
        """
        return max(self._stretched(asked or 0.0), self._drawn(receives, RECEIVE_CAP_SECONDS))

    def after_refusal(self, refusals: int) -> float:
        """Wait after a task was refused for its rate for the n-th time: it makes the pause that all share no longer."""
        return self._drawn(refusals, REFUSAL_CAP_SECONDS)

    def after_deferral(self, seconds: float) -> float:
        """Wait for a limit that all workers share; stretched, so that not all come back together."""
        return self._stretched(seconds)

    def unaccepted(self, age: float, most: float) -> float:
        """Wait for a call of this age to be accepted: a slow one for as long again, but not beyond `most`."""
        shortest, longest = UNACCEPTED_SECONDS
        return min(most, self._stretched(max(shortest, min(age, longest))))

    def before_rewrite(self) -> float:
        """Wait before a write is tried again within the same invocation."""
        return REWRITE_SECONDS * (1 + self._random())

    def _stretched(self, asked: float) -> float:
        return asked * (1 + _RETRY_AFTER_JITTER * self._random())

    def _drawn(self, times: int, cap: float) -> float:
        return self._random() * min(cap, BASE_SECONDS * 2.0 ** min(times - 1, 30))
