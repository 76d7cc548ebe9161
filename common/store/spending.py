"""Keep what each tenant has spent on each day, in Redis: one hash a day."""

from datetime import UTC, datetime
from typing import Final

from common.domain.spending import Charge, Spend
from common.store import keys
from common.store.client import Client, redis_errors
from common.store.codec import amounts_of, write_json
from common.store.scripts import ScriptCall, Scripts

_FIELDS: Final = (
    *("tasks", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cost", "unpriced", "requests"),
    *("estimated_tokens", "estimated_cost"),
)


class Spending:
    """Book calls and tell the sums. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, scripts: Scripts) -> None:
        """Take an open client, which the caller closes."""
        self._client = client
        self._scripts = scripts

    async def book(self, marker: str, tenant: str, charge: Charge, now_ms: int, *, tasks: int = 0) -> None:
        """Add to a tenant's day what calls have cost, and how many tasks they have answered.

        Where the key `marker` has been set within the last hour, this was booked before, and nothing is added.
        """
        amounts = {"tasks": tasks, "unpriced": charge.unpriced, **amounts_of(charge)}
        call = ScriptCall(
            "book_spending",
            [keys.spend_key(tenant, day_of(now_ms)), marker],
            {"day_ttl_ms": keys.SPEND_KEPT_MS, "marker_ttl_ms": keys.BOOKED_KEPT_MS},
            [{"amounts": write_json(amounts)}],
            is_joint=True,
        )
        with redis_errors():
            await self._scripts.run(self._client, call)

    async def read(self, tenant: str, day: str) -> Spend:
        """Return the sums of a tenant's day (`yyyy-mm-dd`, UTC); all zero where nothing was booked."""
        with redis_errors():
            values = await self._client.execute_command("HMGET", keys.spend_key(tenant, day), *_FIELDS)
        return Spend(*(int(value or 0) for value in values))


def day_of(now_ms: int) -> str:
    """Return the day of a time in milliseconds since 1970, in UTC."""
    return datetime.fromtimestamp(now_ms // 1000, UTC).date().isoformat()
