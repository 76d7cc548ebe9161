"""Define money, and what a tenant has spent on a day. Standard library only.

Money is whole nano-dollars (billionths of a US dollar) throughout, so that sums are exact.
"""

from dataclasses import dataclass
from typing import Final

NANOS_PER_USD: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Spend:
    """Sum the answers of one tenant's day; `unpriced` of them had no usage or no price, and are not in the cost.

    `requests` are the tasks accepted on that day under a budget.
    """

    tasks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cost_nanos: int = 0
    unpriced: int = 0
    requests: int = 0


def usd_of(nanos: int) -> str:
    """Write nano-dollars as dollars, exactly: at least two places, at most nine."""
    whole, part = divmod(nanos, NANOS_PER_USD)
    places = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{places}"
