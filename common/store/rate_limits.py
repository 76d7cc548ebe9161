"""Hold what all workers share of the flow: the schedules, the pauses and the tenants' calls in flight."""

from collections.abc import Mapping, Sequence
from itertools import batched, chain

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
from common.store.scripts import ScriptCall, Scripts, read_sources


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
        starts = [(request.tokens, places.get(request.tenant or "", 0)) for request in requests]
        call = ScriptCall(
            "reserve",
            [
                keys.rate_key(scope),
                keys.pause_key(scope),
                *(keys.tenant_pause_key(scope, tenant) for tenant in tenants),
            ],
            [
                limit.requests,
                limit.tokens,
                HORIZON_MS,
                feedback.tokens,
                feedback.provider.requests,
                feedback.provider.tokens,
                feedback.request_wait_ms,
                feedback.token_wait_ms,
                keys.PROVIDER_WORD_MS,
                keys.CALLS_HALF_LIFE_MS,
                *(feedback.let_through.get(tenant, 0) for tenant in tenants),
                *chain.from_iterable(starts),
            ],
        )
        with redis_errors():
            answer = await self._scripts.run(self._client, call)
        return [StartTime(wait, paused, bool(booked)) for wait, paused, booked in batched(answer, 3, strict=True)]

    async def refused(self, refusal: RateRefusal) -> Pauses:
        """Pause a model for a tenant, or for all, as long as the provider asks or for a growing time of our own."""
        scope = model_scope(refusal.model)
        call = ScriptCall(
            "pause",
            [keys.pause_key(scope), keys.tenant_pause_key(scope, refusal.tenant)],
            [
                refusal.wait_ms or 0,
                keys.INITIAL_PAUSE_MS,
                keys.LONGEST_PAUSE_MS,
                keys.PAUSE_MEMORY_MS,
                keys.CALLS_HALF_LIFE_MS,
                refusal.task_id,
                codec.write_text(refusal.tenant),
                int(refusal.is_known),
            ],
        )
        with redis_errors():
            tenant_ms, shared_ms, are_others_refused = await self._scripts.run(self._client, call)
        return Pauses(tenant_ms, shared_ms, bool(are_others_refused))

    async def acquire_slots(
        self, invocation: str, wanted: Mapping[str, int], cap: int, lease_ms: int
    ) -> dict[str, int]:
        """Take shares of the tenants' calls in flight, all in one pipeline; a want of 0 gives a share back."""
        calls = [
            ScriptCall(
                "acquire_slots", [keys.tenant_slots_key(tenant_scope(tenant))], [invocation, want, cap, lease_ms]
            )
            for tenant, want in wanted.items()
        ]
        with redis_errors():
            return dict(zip(wanted, await self._scripts.run_many(self._client, calls), strict=True))
