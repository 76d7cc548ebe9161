"""What is counted on a tenant's day, and what its budgets still allow, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from common.domain.budgets import BudgetCheck, BudgetKind, Budgets
from common.domain.errors import StoreUnavailable
from common.domain.spending import Spend
from common.domain.task import Answer, Usage
from common.store.budgets import BudgetStore
from common.store.keys import budgets_key
from common.store.scripts import Scripts
from tests.integration.store.harness import (
    START_MS,
    TENANT,
    TwiceScripts,
    ValkeyHarness,
    lease_of,
    scripts_on_test_time,
    submitted,
    valkey_harness,
)

TODAY: Final = "2096-10-02"
DAY_MS: Final = 86_400_000
ANSWER: Final = Answer("yes", "stop", Usage(30, 70, 100), cost_nanos=500)


@pytest.fixture(params=["valkey", "valkey_cluster", "valkey_twice"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[ValkeyHarness]:
    scripts = (TwiceScripts if request.param == "valkey_twice" else Scripts)(scripts_on_test_time())
    settings = request.getfixturevalue("valkey_cluster" if request.param == "valkey_cluster" else "valkey")
    async with valkey_harness(settings, scripts) as opened:
        yield opened


@pytest.fixture
def budgets(harness: ValkeyHarness) -> BudgetStore:
    return BudgetStore(harness.client, harness.scripts)


async def requests_of(harness: ValkeyHarness, day: str = TODAY) -> int:
    spend = await harness.store.spend(TENANT, day)
    assert isinstance(spend, Spend)
    return spend.requests


async def admit(store: BudgetStore, tasks: int, limits: Budgets, nonce: str, now_ms: int = START_MS) -> str | None:
    return (await store.admit(TENANT, tasks, limits, nonce, now_ms)).exhausted


async def answered(harness: ValkeyHarness) -> None:
    [task] = await submitted(harness)
    await harness.store.complete(lease_of(task), ANSWER)


async def test_tasks_are_counted_until_the_budget_is_used_up(harness: ValkeyHarness, budgets: BudgetStore) -> None:
    limits = Budgets(requests=5)
    assert await admit(budgets, 3, limits, "a") is None
    assert await admit(budgets, 3, limits, "b") == BudgetKind.REQUESTS
    assert await admit(budgets, 2, limits, "c") is None
    assert await admit(budgets, 1, limits, "d") == BudgetKind.REQUESTS
    assert await requests_of(harness) == 5


async def test_calls_at_once_never_count_more_than_the_budget(harness: ValkeyHarness, budgets: BudgetStore) -> None:
    verdicts = await asyncio.gather(*(admit(budgets, 1, Budgets(requests=5), f"n-{n}") for n in range(20)))

    assert sum(verdict is None for verdict in verdicts) == 5
    assert await requests_of(harness) == 5


async def test_what_is_given_back_can_be_used_again_and_only_once(harness: ValkeyHarness, budgets: BudgetStore) -> None:
    limits = Budgets(requests=5)
    await admit(budgets, 5, limits, "a")

    await budgets.return_count(TENANT, 5, "a", START_MS)
    await budgets.return_count(TENANT, 5, "a", START_MS)
    await budgets.return_count(TENANT, 5, "never counted", START_MS)

    assert await requests_of(harness) == 0
    assert await admit(budgets, 5, limits, "b") is None


async def test_a_request_is_counted_once_and_given_back_by_the_call_that_counted_it(
    harness: ValkeyHarness, budgets: BudgetStore
) -> None:
    limits = Budgets(requests=5)
    assert await admit(budgets, 4, limits, "order:first") is None
    # The budget has no room for it a second time, and needs none
    assert await admit(budgets, 4, limits, "order:second") is None
    assert await admit(budgets, 4, limits, "another:third") == BudgetKind.REQUESTS

    await budgets.return_count(TENANT, 4, "order:second", START_MS)
    assert await requests_of(harness) == 4
    await budgets.return_count(TENANT, 4, "order:first", START_MS)

    assert await requests_of(harness) == 0
    assert await admit(budgets, 4, limits, "order:second") is None
    assert await requests_of(harness) == 4


@pytest.mark.parametrize(("limits", "kind"), [(Budgets(tokens=100), "tokens"), (Budgets(cost_nanos=500), "usd")])
async def test_what_answers_have_used_up_refuses_calls_and_holds_workers(
    harness: ValkeyHarness, budgets: BudgetStore, limits: Budgets, kind: str
) -> None:
    assert await admit(budgets, 1, limits, "a") is None
    assert (await budgets.check(TENANT, limits, START_MS)).exhausted is None

    await answered(harness)

    assert await admit(budgets, 1, limits, "b") == kind
    assert (await budgets.check(TENANT, limits, START_MS)).exhausted == kind
    assert (await budgets.check("rival", limits, START_MS)).exhausted is None
    assert await requests_of(harness) == 1


async def test_the_next_day_begins_with_nothing(harness: ValkeyHarness, budgets: BudgetStore) -> None:
    limits = Budgets(requests=1, tokens=100)
    await admit(budgets, 1, limits, "a")
    await answered(harness)
    verdict = await budgets.admit(TENANT, 1, limits, "b", START_MS)
    assert verdict == BudgetCheck(BudgetKind.REQUESTS, START_MS)

    await harness.advance(verdict.seconds_left * 1000)

    assert await admit(budgets, 1, limits, "c", harness.now_ms) is None
    assert (await budgets.check(TENANT, limits, harness.now_ms)).exhausted is None


async def test_a_worker_goes_by_the_budgets_of_the_tenants_last_call(
    harness: ValkeyHarness, budgets: BudgetStore
) -> None:
    sent_with = Budgets(tokens=100)
    await answered(harness)
    assert (await budgets.check(TENANT, sent_with, START_MS)).exhausted == BudgetKind.TOKENS

    await admit(budgets, 1, Budgets(tokens=101), "a")  # raised since
    assert (await budgets.check(TENANT, sent_with, START_MS)).exhausted is None
    await admit(budgets, 1, Budgets(cost_nanos=1), "b")  # another kind since, and refused
    assert (await budgets.check(TENANT, sent_with, START_MS)).exhausted == BudgetKind.USD
    await admit(budgets, 1, Budgets(requests=9), "c")  # of tokens and money none any more
    assert (await budgets.check(TENANT, sent_with, START_MS)).exhausted is None


async def test_where_redis_has_lost_the_budgets_those_of_the_message_count(
    harness: ValkeyHarness, budgets: BudgetStore
) -> None:
    await admit(budgets, 1, Budgets(tokens=1000), "a")
    await answered(harness)
    await harness.client.delete(budgets_key(TENANT))

    assert (await budgets.check(TENANT, Budgets(tokens=100), START_MS)).exhausted == BudgetKind.TOKENS


async def test_a_budget_of_nothing_lets_nothing_through(budgets: BudgetStore) -> None:
    assert await admit(budgets, 1, Budgets(requests=0), "a") == BudgetKind.REQUESTS
    assert await admit(budgets, 1, Budgets(tokens=0), "b") == BudgetKind.TOKENS
    assert await admit(budgets, 1, Budgets(cost_nanos=0), "c") == BudgetKind.USD
    assert (await budgets.check(TENANT, Budgets(tokens=0), START_MS)).exhausted is not None


async def test_a_count_that_cannot_be_made_is_the_store_being_unavailable(
    harness: ValkeyHarness, budgets: BudgetStore
) -> None:
    await harness.client.set(budgets_key(TENANT), "not a hash", px=DAY_MS * 365 * 100)

    with pytest.raises(StoreUnavailable):
        await budgets.check(TENANT, Budgets(tokens=1), START_MS)
