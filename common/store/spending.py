"""Keep what each tenant has spent on each day, in Redis: one hash a day."""

from datetime import UTC, datetime
from typing import Final

from common.spending import Spend
from common.store import keys
from common.store.connection import Client, redis_errors
from common.store.scripts import Call, Scripts
from common.tasks import Answer, TaskRef, Usage

_FIELDS: Final = (
    *("tasks", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cost", "unpriced", "requests"),
)


class Spending:
    """Book answers and tell the sums. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, scripts: Scripts) -> None:
        """Take an open client, which the caller closes."""
        self._client = client
        self._scripts = scripts

    async def book(self, ref: TaskRef, answer: Answer, now_ms: int) -> None:
        """Add a task's answer to its tenant's day; a repeat within the hour adds nothing."""
        usage = answer.usage or Usage(0, 0, 0)
        amounts = (
            *(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cached_tokens),
            *(answer.cost_nanos or 0, int(answer.cost_nanos is None)),
        )
        call = Call(
            "spend",
            [keys.spend_key(ref.tenant, day_of(now_ms)), keys.booked_key(ref)],
            [keys.SPEND_KEPT_MS, keys.BOOKED_KEPT_MS, " ".join(map(str, amounts))],
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
