"""Say what the workers ask of their shared flow control, and what it answers. Standard library only.

Every question is one Lua script in common/store. A scope is what one schedule belongs to: a model or a tenant.
"""

from dataclasses import dataclass
from typing import Final

MOST_ANSWER_TOKENS: Final = 128_000
"""The longest answer that a model in general use gives. A caller's own guess is booked no further: what nobody can use
must not keep others from starting."""

HORIZON_MS: Final = 10_000
"""How far ahead a start may be booked. What is due later goes back to the queue: a worker that waits is paid for."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Allow so many requests and tokens a minute; 0 is no limit."""

    requests: int = 0
    tokens: int = 0


NO_LIMIT: Final = Limit()


@dataclass(frozen=True, slots=True)
class Feedback:
    """Tell a schedule what was learned since it was last asked.

    `tokens` is what calls have used beyond what was booked for them, below zero where they used less. The provider's
    own limits are 0 where it named none. It may have nothing left for a while: its waits say for how many milliseconds.
    """

    tokens: int = 0
    provider: Limit = NO_LIMIT
    request_wait_ms: int = 0
    token_wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Booking:
    """Answer how long each start has to wait, in milliseconds. One beyond the horizon was not booked.

    `paused_ms` is what is left of a pause, 0 where there is none.
    """

    paused_ms: int
    waits_ms: tuple[int, ...]


def model_scope(model: str) -> str:
    """Name the scope of a model."""
    return f"model/{model}"


def tenant_scope(tenant: str) -> str:
    """Name the scope of a tenant."""
    return f"tenant/{tenant}"
