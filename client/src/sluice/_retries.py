"""Decide which errors are transient, and how long to wait before a retry."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluice._exceptions import ProblemError, ServiceUnreachableError, SluiceError

FIRST_SECONDS: Final = 0.5
MIN_SECONDS: Final = 1.0
"""Minimum time between two polls without news, and between two refusals of `map`, whatever the service says."""
MOST_SECONDS: Final = 15.0
"""Maximum wait: a service that has recovered is noticed soon."""
TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed. Every request is safe to repeat: a POST has an idempotency key."""
IN_USE: Final = frozenset({"idempotency_key_in_use", "retry_in_use"})
"""Codes of conflicts that resolve themselves: another request with the same key is in progress."""


def is_transient(error: SluiceError) -> bool:
    """Return True if the same request may succeed later."""
    if isinstance(error, ProblemError):
        return error.status in TRANSIENT or error.code in IN_USE
    return isinstance(error, ServiceUnreachableError)


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry that is about to happen: its error, its wait in seconds, and its number."""

    error: SluiceError
    seconds: float
    attempt: int


def pause(attempt: int, retry_after: float | None, jitter: random.Random) -> float:
    """Return the seconds before the next try: full jitter over a doubling time, and at least Retry-After.

    The doubling time also bounds how often a request is repeated for a service that says `Retry-After: 0`.
    """
    backoff = jitter.uniform(FIRST_SECONDS / 2, min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, 10)))
    return max(backoff, retry_after or 0)


type OnRetry = Callable[[Retry], None]
