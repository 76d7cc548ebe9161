"""Hold the calls of tenants whose budget of the day is used up.

One question a second for each tenant that has budgets, whatever number of its calls wait to start; none for the others.
So a budget is overrun by what is in flight when the last of it is booked, and by what starts in the second after.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from common.domain.budgets import BudgetCheck, Budgets
from common.domain.message import TaskMessage

CACHE_SECONDS: Final = 1.0
"""How long an answer counts."""

RECHECK_SECONDS: Final = 900
"""How long a delivery stays away at most: a budget that was raised should act before midnight."""


class BudgetReader(Protocol):
    """Judge by the day's sums; may raise StoreUnavailable."""

    async def check(self, tenant: str, budgets: Budgets, now_ms: int) -> BudgetCheck:
        """Return whether tokens or money are used up, by the tenant's last budgets or else by these."""


@dataclass(frozen=True, slots=True)
class _CachedCheck:
    check: BudgetCheck
    at: float


class BudgetGuard:
    """Ask for the tenants of one environment."""

    def __init__(self, budgeting: BudgetReader, *, now_ms: Callable[[], int]) -> None:
        """Take who judges, and a clock in milliseconds since 1970, which names the day."""
        self._budgeting = budgeting
        self._now_ms = now_ms
        self._news: dict[tuple[str, Budgets], _CachedCheck] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def deferral_seconds(self, message: TaskMessage) -> float | None:
        """Return for how many seconds a call must not start, None where it may.

        Raises:
            StoreUnavailable: nobody can say whether it may.

        """
        if message.budgets is None:
            return None
        tenant = message.task.ref.tenant
        async with self._asking[tenant]:
            check = await self._ask(tenant, message.budgets)
        if check.exhausted is None:
            return None
        to_deadline = (message.task.deadline_ms - check.now_ms) / 1000
        if to_deadline <= 0:
            return None  # it starts no call: the claim, whose clock is later, fails it unpaid
        return min(RECHECK_SECONDS, check.seconds_left, to_deadline)

    async def _ask(self, tenant: str, budgets: Budgets) -> BudgetCheck:
        now, news = _now(), self._news.get((tenant, budgets))
        if news is not None and now - news.at < CACHE_SECONDS:
            return news.check
        check = await self._budgeting.check(tenant, budgets, self._now_ms())
        # What is old by now would only take memory: tenants and their budgets come and go.
        self._news = {key: each for key, each in self._news.items() if now - each.at < CACHE_SECONDS}
        self._news[tenant, budgets] = _CachedCheck(check, now)
        return check


def _now() -> float:
    return asyncio.get_running_loop().time()
