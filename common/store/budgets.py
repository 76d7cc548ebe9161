"""Count what tenants have accepted on their days, and say what their budgets still allow."""

from common.domain.budgets import BudgetCheck, BudgetKind, Budgets
from common.store import keys
from common.store.client import Client, redis_errors
from common.store.codec import read_text
from common.store.scripts import ScriptCall, Scripts, read_sources
from common.store.spending import day_of


class BudgetStore:
    """Keep the day's count of a tenant's tasks beside its sums, and its budgets as they were last sent.

    A day is named by the caller's clock, in milliseconds since 1970, and is UTC's. Every method raises StoreUnavailable
    when Redis does not answer; each is safe to repeat.
    """

    def __init__(self, client: Client, scripts: Scripts | None = None) -> None:
        """Take an open client, which the caller closes; tests hand in scripts with a clock of their own."""
        self._client = client
        self._scripts = scripts or Scripts(read_sources())

    async def admit(self, tenant: str, tasks: int, budgets: Budgets, nonce: str, now_ms: int) -> BudgetCheck:
        """Count tasks if the budgets allow it; nothing is counted where they do not.

        The nonce names this count: `request:call`. What one call has counted for a request, no other counts again. A
        request that cannot come again has a random name, and no call in its nonce.
        """
        request, _, call_id = nonce.partition(":")
        call = ScriptCall(
            "admit",
            [*_keys(tenant, now_ms), keys.counted_key(tenant, request)],
            {
                "tasks": tasks,
                "requests": budgets.requests,
                "tokens": budgets.tokens,
                "usd": budgets.cost_nanos,
                "day_ttl_ms": keys.SPEND_KEPT_MS,
                "budgets_ttl_ms": keys.BUDGETS_KEPT_MS,
                "marker_ttl_ms": keys.BOOKED_KEPT_MS,
                "call": call_id,
            },
        )
        return await self._check(call)

    async def return_count(self, tenant: str, tasks: int, nonce: str, now_ms: int) -> None:
        """Take a count back, once, and only what was counted with this nonce; `now_ms` is that of the count."""
        request, _, call_id = nonce.partition(":")
        call = ScriptCall(
            "return_count",
            [_keys(tenant, now_ms)[0], keys.counted_key(tenant, request)],
            {"tasks": tasks, "call": call_id},
        )
        with redis_errors():
            await self._scripts.run(self._client, call)

    async def check(self, tenant: str, budgets: Budgets, now_ms: int) -> BudgetCheck:
        """Return whether tokens or money are used up, by the budgets that were sent last, or else by these."""
        args = {"tokens": budgets.tokens, "usd": budgets.cost_nanos}
        return await self._check(ScriptCall("check_budgets", _keys(tenant, now_ms), args))

    async def _check(self, call: ScriptCall) -> BudgetCheck:
        with redis_errors():
            exhausted, now_ms = await self._scripts.run(self._client, call)
        return BudgetCheck(BudgetKind(read_text(exhausted)) if exhausted else None, now_ms)


def _keys(tenant: str, now_ms: int) -> list[str]:
    return [keys.spend_key(tenant, day_of(now_ms)), keys.budgets_key(tenant)]
