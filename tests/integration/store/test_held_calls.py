"""Held calls have places: a few for each tenant, some for all, and each with a lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

import pytest

from common.api.held_calls import HoldLimits
from common.runtime.settings import RedisSettings
from common.store import connect
from common.store.held_calls import HeldCallStore
from common.store.keys import HOLD_LEASE_MS, held_key
from common.store.scripts import Scripts
from tests.fakes import FakeHeldCalls
from tests.integration.store.harness import FakeHarness, TwiceScripts, scripts_on_test_time, valkey_harness

LIMITS: Final = HoldLimits(tenant=2, total=3)


class Server(Protocol):
    """Time that only the test moves."""

    async def advance(self, ms: int) -> None: ...


class Site:
    """The held calls under test, by their limits, and calls that are left held."""

    def __init__(self, server: Server, make: Any) -> None:  # noqa: ANN401  # a function of limits
        self.advance = server.advance
        self.made = {LIMITS: make(LIMITS)}
        self._make = make
        self._left = AsyncExitStack()

    async def hold(self, tenant: str, limits: HoldLimits = LIMITS) -> bool:
        """Hold a call until the end of the test, as an environment does that never comes back."""
        held_calls = self.made.setdefault(limits, self._make(limits))
        return bool(await self._left.enter_async_context(held_calls.holding(tenant)))

    async def release_all(self) -> None:
        await self._left.aclose()


@pytest.fixture(params=["fake", "valkey", "valkey_cluster", "valkey_twice"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    if request.param == "fake":
        fake = FakeHarness()
        made = Site(fake, lambda limits: FakeHeldCalls(lambda: fake.now_ms, limits))
        yield made
        await made.release_all()
        return
    scripts = (TwiceScripts if request.param == "valkey_twice" else Scripts)(scripts_on_test_time())
    settings = request.getfixturevalue("valkey_cluster" if request.param == "valkey_cluster" else "valkey")
    async with valkey_harness(settings, scripts) as harness:
        made = Site(harness, lambda limits: HeldCallStore(harness.client, limits, scripts))
        yield made
        await made.release_all()


async def test_a_tenant_holds_as_many_calls_as_it_may_and_another_its_own(site: Site) -> None:
    assert [await site.hold("rival") for _ in range(4)] == [True, True, False, False]
    assert await site.hold("acme") is True


async def test_all_tenants_together_hold_as_many_calls_as_they_may(site: Site) -> None:
    assert [await site.hold("a"), await site.hold("a"), await site.hold("b")] == [True] * 3
    assert await site.hold("c") is False
    assert await site.hold("b") is False


async def test_a_call_that_is_answered_leaves_its_place(site: Site) -> None:
    for _ in range(5):
        async with site.made[LIMITS].holding("acme") as is_held:
            assert is_held
    assert [await site.hold("acme") for _ in range(3)] == [True, True, False]
    await site.release_all()
    assert await site.hold("acme") is True


async def test_a_call_that_fails_leaves_its_place_too(site: Site) -> None:
    for _ in range(5):
        with pytest.raises(KeyError):
            async with site.made[LIMITS].holding("acme"):
                raise KeyError
    assert [await site.hold("acme") for _ in range(3)] == [True, True, False]


async def test_the_place_of_an_environment_that_died_is_free_when_its_lease_ends(site: Site) -> None:
    assert [await site.hold("acme"), await site.hold("acme"), await site.hold("rival")] == [True] * 3
    await site.advance(HOLD_LEASE_MS - 1)
    assert await site.hold("acme") is False

    await site.advance(1)

    assert [await site.hold("acme"), await site.hold("acme"), await site.hold("rival")] == [True] * 3
    assert await site.hold("acme") is False


async def test_a_later_call_does_not_prolong_the_lease_of_a_dead_one(site: Site) -> None:
    assert await site.hold("acme") is True
    await site.advance(HOLD_LEASE_MS // 2)
    assert await site.hold("acme") is True
    await site.advance(HOLD_LEASE_MS // 2)

    assert await site.hold("acme") is True
    assert await site.hold("acme") is False


async def test_a_tenant_at_its_limit_takes_no_place_of_the_others(site: Site) -> None:
    assert [await site.hold("rival") for _ in range(9)].count(True) == 2

    assert await site.hold("acme") is True
    assert await site.hold("other") is False


async def test_no_limit_holds_every_call(site: Site) -> None:
    assert all([await site.hold("acme", HoldLimits(tenant=0, total=0)) for _ in range(30)])
    assert [await site.hold("acme", HoldLimits(tenant=0, total=1)) for _ in range(2)] == [True, False]
    assert [await site.hold("rival", HoldLimits(tenant=1, total=0)) for _ in range(2)] == [True, False]


async def test_calls_at_once_are_never_more_than_may_be_held(site: Site) -> None:
    assert (await asyncio.gather(*(site.hold("acme") for _ in range(20)))).count(True) == 2


async def test_where_redis_does_not_answer_nothing_is_held_and_nothing_raised() -> None:
    client = connect(RedisSettings("127.0.0.1", 1, tls=False, cluster=False, username=None))
    try:
        async with HeldCallStore(client, LIMITS).holding("acme") as is_held:
            assert not is_held
        async with HeldCallStore(client, HoldLimits(tenant=0, total=0)).holding("acme") as is_held:
            assert is_held, "without limits nobody asks"
    finally:
        await client.aclose()


def test_no_tenants_name_is_the_key_of_all() -> None:
    assert held_key("tenant/all") != held_key("all")
