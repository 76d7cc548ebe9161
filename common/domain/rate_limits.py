"""Define the requests to the shared rate limiter, and its answers. Standard library only.

Every question is one Lua script in common/store. A scope is what one schedule belongs to: a model or a tenant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
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
    """Report to a schedule what was learned since the last request.

    `tokens` is what calls have used beyond what was booked for them, below zero where they used less. The provider's
    own limits are 0 where it named none. It may have nothing left for a while: its waits say for how many milliseconds.
    `let_through` counts the calls of each tenant that it has begun to answer.
    """

    tokens: int = 0
    provider: Limit = NO_LIMIT
    request_wait_ms: int = 0
    token_wait_ms: int = 0
    let_through: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Ask for the start of one call that may use so many tokens; `tenant` is None where no pause of a tenant counts."""

    tokens: int
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class StartTime:
    """Answer in how many milliseconds a call may start, and what is left of the pause that holds it, 0 for none.

    What was not booked has to be asked for again then: it is beyond the horizon, or waits for its tenant's own pause.
    """

    wait_ms: int
    paused_ms: int
    is_booked: bool


@dataclass(frozen=True, slots=True)
class RateRefusal:
    """Report that the provider refused a call for its rate. `wait_ms` is None where it named no time.

    `is_known` says that the task's earlier refusals were its own: this one changes nothing that others share.
    """

    model: str
    tenant: str
    task_id: str
    wait_ms: int | None = None
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class Pauses:
    """Answer for how many milliseconds a model is paused for the tenant of a refused call, and for all tenants.

    `are_others_refused` says that the provider refuses calls of other tasks too, and not just a few of many.
    """

    tenant_ms: int
    shared_ms: int
    are_others_refused: bool


class RefusalCause(StrEnum):
    """Name what a call was refused for its rate by."""

    MODEL = "model"
    """The provider refuses calls of other tasks too: the task waits, however often."""
    TASK = "task"
    """The provider answers the calls of other tasks: it may refuse this one for ever."""
    SIZE = "size"
    """The call is larger than what the provider allows in a minute: it does refuse this one for ever."""


def model_scope(model: str) -> str:
    """Name the scope of a model."""
    return f"model/{model}"


def tenant_scope(tenant: str) -> str:
    """Name the scope of a tenant."""
    return f"tenant/{tenant}"
