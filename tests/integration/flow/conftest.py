"""Fixtures for the shared rate limits on a server and on a cluster, with virtual time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from common.domain.rate_limits import (
    NO_LIMIT,
    Feedback,
    Limit,
    Pauses,
    RateRefusal,
    StartRequest,
    StartTime,
    model_scope,
)
from common.store import RateLimitStore
from common.store.client import Client
from common.store.scripts import Scripts
from tests.integration.store.harness import CLOCK_KEY, MOVE_CLOCK, START_MS, scripts_on_test_time, valkey_harness
from tests.valkey import valkey, valkey_cluster

__all__ = ["valkey", "valkey_cluster"]

MODEL = "gpt-test"
ACME, OTHER = "acme", "{other}"
NO_NEWS = Feedback()


@dataclass
class Flows:
    """The store under test, and what most tests ask of it."""

    client: Client
    store: RateLimitStore
    now_ms: int = START_MS

    async def advance(self, ms: int) -> None:
        self.now_ms += ms
        await self.client.eval(MOVE_CLOCK, 1, CLOCK_KEY, self.now_ms)

    async def reserve(
        self,
        limit: Limit,
        *costs: int,
        feedback: Feedback = NO_NEWS,
        model: str = MODEL,
        tenant: str | None = None,
    ) -> list[StartTime]:
        requests = [StartRequest(cost, tenant) for cost in costs]
        return await self.store.reserve(model_scope(model), limit, requests, feedback)

    async def waits(
        self, limit: Limit, *costs: int, feedback: Feedback = NO_NEWS, tenant: str | None = None
    ) -> list[int]:
        return [start.wait_ms for start in await self.reserve(limit, *costs, feedback=feedback, tenant=tenant)]

    async def refuse(
        self, task_id: str, tenant: str = ACME, *, wait_ms: int | None = None, is_known: bool = False
    ) -> Pauses:
        """Let the provider refuse a call of a task for its rate."""
        return await self.store.refused(RateRefusal(MODEL, tenant, task_id, wait_ms, is_known))

    async def let_through(self, calls: int, tenant: str = "answered") -> None:
        """Let the provider begin to answer so many calls."""
        await self.reserve(NO_LIMIT, feedback=Feedback(let_through={tenant: calls}))


@pytest.fixture(params=["valkey", "valkey_cluster"])
async def flows(request: pytest.FixtureRequest) -> AsyncIterator[Flows]:
    scripts = Scripts(scripts_on_test_time())
    async with valkey_harness(request.getfixturevalue(request.param), scripts) as harness:
        yield Flows(harness.client, RateLimitStore(harness.client, scripts))
