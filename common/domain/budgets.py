"""Define what a tenant may use on one day, in UTC. Standard library only.

The secret of the keys, the authorizer and the queue's messages write it as `{"requests": 1000, "tokens": 2000000,
"usd": "12.50"}`. A budget that cannot be read is an error and never "no budget".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from common.domain.spending import NANOS_PER_USD, usd_of

DAY_MS: Final = 86_400_000

MOST: Final = 10**15
"""No budget is larger; in nano-dollars it is a million dollars a day. Redis counts these exactly, and so does JSON."""


class BudgetKind(StrEnum):
    """Name the budgets."""

    REQUESTS = "requests"
    """Tasks that were accepted."""
    TOKENS = "tokens"
    """Tokens of answered calls, as the provider has billed them."""
    USD = "usd"
    """What the answered calls have cost, by the price table."""


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """Name the budget that is exhausted, None where none is; the time is the store's, in milliseconds since 1970."""

    exhausted: BudgetKind | None
    now_ms: int

    @property
    def seconds_left(self) -> int:
        """Return how long the day still is, rounded up."""
        return -(-(DAY_MS - self.now_ms % DAY_MS) // 1000)


class BudgetsUnreadable(ValueError):
    """What should be budgets is something else; the text says which of them, and nothing of its value."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """Hold a tenant's budgets of a day; None is no budget, and 0 lets nothing through. Money is in nano-dollars."""

    requests: int | None = None
    tokens: int | None = None
    cost_nanos: int | None = None

    @classmethod
    def read(cls, value: object) -> "Budgets":
        """Read a JSON object.

        Raises:
            BudgetsUnreadable: it is none, names something that is no budget, or an amount is not one.

        """
        if not isinstance(value, Mapping) or not value or not value.keys() <= set(BudgetKind):
            raise BudgetsUnreadable(f"budgets must be an object of {', '.join(BudgetKind)}")
        return cls(
            requests=_amount(value, BudgetKind.REQUESTS),
            tokens=_amount(value, BudgetKind.TOKENS),
            cost_nanos=_amount(value, BudgetKind.USD),
        )

    def write(self) -> dict[str, Any]:
        """Write them as `read` takes them."""
        usd = None if self.cost_nanos is None else usd_of(self.cost_nanos)
        amounts = {BudgetKind.REQUESTS: self.requests, BudgetKind.TOKENS: self.tokens, BudgetKind.USD: usd}
        return {kind.value: amount for kind, amount in amounts.items() if amount is not None}

    def strictest(self, other: "Budgets") -> "Budgets":
        """Return the lower of each."""
        return Budgets(
            _lower(self.requests, other.requests),
            _lower(self.tokens, other.tokens),
            _lower(self.cost_nanos, other.cost_nanos),
        )


def _lower(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _amount(value: Mapping[str, object], kind: BudgetKind) -> int | None:
    if kind not in value:
        return None
    raw = value[kind]
    try:
        amount = Decimal(str(raw)) * (NANOS_PER_USD if kind is BudgetKind.USD else 1)
    except InvalidOperation:
        amount = Decimal("NaN")
    is_number = isinstance(raw, (int, float, str) if kind is BudgetKind.USD else int) and not isinstance(raw, bool)
    if not is_number or not amount.is_finite() or not 0 <= amount <= MOST or amount % 1:
        raise BudgetsUnreadable(f"the budget {kind} is not an amount")
    return int(amount)
