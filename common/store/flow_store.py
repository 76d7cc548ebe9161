"""Hold what all workers share of the flow: the schedules, the pauses and the tenants' calls in flight."""

from collections.abc import Mapping, Sequence

from common.flow import HORIZON_MS, Booking, Feedback, Limit, model_scope, tenant_scope
from common.store import keys
from common.store.connection import Client, redis_errors
from common.store.scripts import Call, Scripts, read_sources


class FlowStore:
    """Keep one schedule, one pause and one count of flights per scope, timed by the server's clock.

    Every method raises StoreUnavailable when Redis does not answer. A reply that is lost may have booked starts that
    nobody uses: some of the rate is lost, and never exceeded.
    """

    def __init__(self, client: Client, scripts: Scripts | None = None) -> None:
        """Take an open client, which the caller closes; tests hand in scripts with a clock of their own."""
        self._client = client
        self._scripts = scripts or Scripts(read_sources())

    async def reserve(self, scope: str, limit: Limit, costs: Sequence[int], feedback: Feedback) -> Booking:
        """Book a start for each of the costs, in tokens, in one round trip."""
        call = Call(
            "reserve",
            [keys.rate_key(scope), keys.pause_key(scope)],
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
                *costs,
            ],
        )
        with redis_errors():
            paused_ms, *waits_ms = await self._scripts.run(self._client, call)
        return Booking(paused_ms, tuple(waits_ms))

    async def pause(self, model: str, wait_ms: int | None) -> int:
        """Pause a model for all workers, for as long as the provider asks or for a growing time of our own.

        Answers what is left of the pause, in milliseconds: a longer one that stands stays.
        """
        call = Call(
            "pause",
            [keys.pause_key(model_scope(model))],
            [wait_ms or 0, keys.FIRST_PAUSE_MS, keys.LONGEST_PAUSE_MS, keys.PAUSE_MEMORY_MS],
        )
        with redis_errors():
            return int(await self._scripts.run(self._client, call))

    async def share(self, invocation: str, wanted: Mapping[str, int], cap: int, lease_ms: int) -> dict[str, int]:
        """Take shares of the tenants' calls in flight, all in one pipeline; a want of 0 gives a share back."""
        calls = [
            Call("share", [keys.flights_key(tenant_scope(tenant))], [invocation, want, cap, lease_ms])
            for tenant, want in wanted.items()
        ]
        with redis_errors():
            return dict(zip(wanted, await self._scripts.run_many(self._client, calls), strict=True))
