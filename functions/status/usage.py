"""Show what a tenant has used on this day, in UTC, and what its budgets are."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from common.api.serializers import Body, show_estimated, time_of
from common.domain.budgets import Budgets
from common.domain.spending import Spend, usd_of


class SpendReader(Protocol):
    """Read sums. Raises StoreUnavailable where Redis does not answer."""

    async def spend(self, tenant: str, day: str) -> Spend:
        """Return what a tenant has spent on a day, `yyyy-mm-dd`."""


async def show_usage(store: SpendReader, tenant: str, budgets: Budgets | None, now_ms: int) -> Body:
    """Return the body of GET /usage: `requests` only counts under a budget, the rest always."""
    day = datetime.fromtimestamp(now_ms // 1000, UTC).date()
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    spend = await store.spend(tenant, day.isoformat())
    return {
        "day": day.isoformat(),
        "resets_at": time_of(int(midnight.timestamp()) * 1000),
        "requests": spend.requests,
        "answers": spend.tasks,
        "usage": {
            "prompt_tokens": spend.prompt_tokens,
            "completion_tokens": spend.completion_tokens,
            "total_tokens": spend.total_tokens,
            "cached_tokens": spend.cached_tokens,
        },
        "cost": {"usd": usd_of(spend.cost_nanos)},
        "unpriced": spend.unpriced,
        **({"estimated": estimated} if (estimated := show_estimated(spend)) else {}),
        "budgets": budgets.write() if budgets else {},
    }
