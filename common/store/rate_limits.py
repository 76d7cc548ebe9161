"""Hold what all workers share of the flow: the schedules, the pauses and the tenants' calls in flight."""

from collections.abc import Mapping, Sequence

from common.domain.rate_limits import (
    HORIZON_MS,
    Feedback,
    Limit,
    Pauses,
    RateRefusal,
    StartRequest,
    StartTime,
    model_scope,
    tenant_scope,
)
from common.store import codec, keys
from common.store.client import Client, redis_errors
from common.store.scripts import ScriptCall, Scripts, named, read_sources


class RateLimitStore:
    """Keep one schedule, one pause and one count of flights per scope, timed by the server's clock.

    Every method raises StoreUnavailable when Redis does not answer. A reply that is lost may have booked starts that
    nobody uses: some of the rate is lost, and never exceeded.
    """

    def __init__(self, client: Client, scripts: Scripts | None = None) -> None:
        """Take an open client, which the caller closes; tests hand in scripts with a clock of their own."""
        self._client = client
        self._scripts = scripts or Scripts(read_sources())

    async def reserve(
        self, scope: str, limit: Limit, requests: Sequence[StartRequest], feedback: Feedback
    ) -> list[StartTime]:
        """Book a start for each request, in one round trip."""
        asking = [request.tenant for request in requests if request.tenant is not None]
        tenants = list(dict.fromkeys([*asking, *feedback.let_through]))
        places = {tenant: place for place, tenant in enumerate(tenants, start=1)}
        call = ScriptCall(
            "reserve",
            [
                keys.rate_key(scope),
                keys.pause_key(scope),
                *(keys.tenant_pause_key(scope, tenant) for tenant in tenants),
            ],
            {
                "requests": limit.requests or None,
                "tokens": limit.tokens or None,
                "horizon_ms": HORIZON_MS,
                "used_tokens": feedback.tokens,
                "provider_requests": feedback.provider.requests or None,
                "provider_tokens": feedback.provider.tokens or None,
                "request_wait_ms": feedback.request_wait_ms,
                "token_wait_ms": feedback.token_wait_ms,
                "limits_ttl_ms": keys.PROVIDER_WORD_MS,
                "half_life_ms": keys.CALLS_HALF_LIFE_MS,
                "let_through": codec.write_json([feedback.let_through.get(tenant, 0) for tenant in tenants]),
            },
            [{"tokens": request.tokens, "place": places.get(request.tenant or "")} for request in requests],
        )
        with redis_errors():
            answer = named(await self._scripts.run(self._client, call))
        starts = zip(answer["wait_ms"], answer["pause_ms"], answer["reserved"], strict=True)
        return [StartTime(wait, paused, bool(is_reserved)) for wait, paused, is_reserved in starts]

    async def refused(self, refusal: RateRefusal) -> Pauses:
        """Pause a model for a tenant, or for all, as long as the provider asks or for a growing time of our own."""
        scope = model_scope(refusal.model)
        call = ScriptCall(
            "pause",
            [keys.pause_key(scope), keys.tenant_pause_key(scope, refusal.tenant)],
            {
                "wait_ms": refusal.wait_ms,
                "initial_ms": keys.INITIAL_PAUSE_MS,
                "longest_ms": keys.LONGEST_PAUSE_MS,
                "memory_ms": keys.PAUSE_MEMORY_MS,
                "half_life_ms": keys.CALLS_HALF_LIFE_MS,
                "task_id": refusal.task_id,
                "tenant": refusal.tenant,
                "is_known": 1 if refusal.is_known else None,
            },
        )
        with redis_errors():
            answer = named(await self._scripts.run(self._client, call))
        return Pauses(answer["tenant_ms"], answer["shared_ms"], bool(answer["others_refused"]))

    async def acquire_slots(
        self, invocation: str, wanted: Mapping[str, int], cap: int, lease_ms: int
    ) -> dict[str, int]:
        """Take shares of the tenants' calls in flight, all in one pipeline; a want of 0 gives a share back."""
        calls = [
            ScriptCall(
                "acquire_slots",
                [keys.tenant_slots_key(tenant_scope(tenant))],
                {"invocation": invocation, "wanted": want, "cap": cap, "lease_ms": lease_ms},
            )
            for tenant, want in wanted.items()
        ]
        with redis_errors():
            return dict(zip(wanted, await self._scripts.run_many(self._client, calls), strict=True))
