"""Define money, what model calls have cost, and what a tenant has spent on a day. Standard library only.

Money is whole nano-dollars (billionths of a US dollar) throughout, so that sums are exact.
"""

from dataclasses import astuple, dataclass
from typing import Final

from common.domain.task import Usage

NANOS_PER_USD: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Charge:
    """Hold what model calls have cost, answered or not; `unpriced` of them are not in the cost.

    A provider tells nothing of a call that was cut, and some tell nothing at all: then the charge is an estimate, and
    `estimated_tokens` and `estimated_nanos` say how much of the usage and of the cost is one.
    """

    usage: Usage | None = None
    cost_nanos: int | None = None
    unpriced: int = 0
    estimated_tokens: int = 0
    estimated_nanos: int = 0

    @classmethod
    def billed(cls, usage: Usage | None, cost_nanos: int | None) -> "Charge":
        """Charge one call as the provider has billed it; what is not known is None."""
        return cls(usage, cost_nanos, unpriced=int(cost_nanos is None))

    @classmethod
    def estimate(cls, usage: Usage, cost_nanos: int | None) -> "Charge":
        """Charge one call whose bill nobody tells."""
        return cls(usage, cost_nanos, int(cost_nanos is None), usage.total_tokens, cost_nanos or 0)

    def __add__(self, other: "Charge") -> "Charge":
        """Return what both cost together."""
        usages = [each.usage for each in (self, other) if each.usage is not None]
        costs = [each.cost_nanos for each in (self, other) if each.cost_nanos is not None]
        return Charge(
            Usage(*map(sum, zip(*map(astuple, usages), strict=True))) if usages else None,
            sum(costs) if costs else None,
            self.unpriced + other.unpriced,
            self.estimated_tokens + other.estimated_tokens,
            self.estimated_nanos + other.estimated_nanos,
        )


NO_CHARGE: Final = Charge()
"""What costs nothing."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Sum the calls of one tenant's day, `tasks` of which were answered; `unpriced` of them are not in the cost.

    `requests` are the tasks accepted on that day under a budget. Of the tokens and of the cost some may be estimates.
    """

    tasks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cost_nanos: int = 0
    unpriced: int = 0
    requests: int = 0
    estimated_tokens: int = 0
    estimated_nanos: int = 0


def usd_of(nanos: int) -> str:
    """Write nano-dollars as dollars, exactly: at least two places, at most nine."""
    whole, part = divmod(nanos, NANOS_PER_USD)
    places = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{places}"
