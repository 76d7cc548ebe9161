"""When to ask again, and after how long."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluice._exceptions import ProblemError, ServiceUnreachableError, SluiceError

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 15.0
"""Longer pauses than this help nobody: a service that is back is seen soon."""
TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed. Each of ours may be repeated: a POST has an idempotency key."""
IN_USE: Final = frozenset({"idempotency_key_in_use", "retry_in_use"})
"""The codes of the conflicts that end by themselves: others are just doing the same."""


def is_transient(error: SluiceError) -> bool:
    """Tell whether the same request may succeed in a while."""
    if isinstance(error, ProblemError):
        return error.status in TRANSIENT or error.code in IN_USE
    return isinstance(error, ServiceUnreachableError)


@dataclass(frozen=True, slots=True)
class Retry:
    """Tell of a call that is about to be repeated: after which error, and in how many seconds."""

    error: SluiceError
    seconds: float
    attempt: int


def pause(attempt: int, retry_after: float | None, jitter: random.Random) -> float:
    """Give the seconds before the next try: what the service said, or else full jitter over a doubling time."""
    if retry_after is not None:
        return retry_after
    return jitter.uniform(FIRST_SECONDS / 2, min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, 10)))


type OnRetry = Callable[[Retry], None]
