"""The tests of the budgets notice faults that are planted into their scripts."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from common.runtime.settings import RedisSettings
from common.store.budgets import BudgetStore
from common.store.scripts import Scripts
from tests.integration.store import test_budgets as contract
from tests.integration.store.harness import TwiceScripts, ValkeyHarness, scripts_on_test_time, valkey_harness
from tests.integration.store.planted import Fault

type Test = Callable[[ValkeyHarness, BudgetStore], Awaitable[None]]

FAULTS: Final[tuple[tuple[Fault, Test], ...]] = (
    (
        Fault("admit counts what is over", "admit", "> budget then return", "> budget + 1 then return"),
        contract.test_tasks_are_counted_until_the_budget_is_used_up,
    ),
    (
        Fault("admit counts nothing", "admit", "redis.call('HINCRBY', KEYS[1], 'requests', tasks)", ""),
        contract.test_calls_at_once_never_count_more_than_the_budget,
    ),
    (
        Fault("admit counts its repeat", "admit", "redis.call('EXISTS', KEYS[3]) == 1", "false"),
        contract.test_tasks_are_counted_until_the_budget_is_used_up,
    ),
    (
        Fault("admit keeps former budgets", "admit", "redis.call('DEL', KEYS[2])", ""),
        contract.test_a_worker_goes_by_the_budgets_of_the_tenants_last_call,
    ),
    (
        Fault(
            "return_count returns a count twice",
            "return_count",
            "redis.call('HGET', KEYS[2], 'call') == args.call",
            "true",
        ),
        contract.test_what_is_given_back_can_be_used_again_and_only_once,
    ),
    (
        Fault(
            "return_count takes what another call has counted",
            "return_count",
            "redis.call('HGET', KEYS[2], 'call') == args.call",
            "redis.call('HGET', KEYS[2], 'call')",
        ),
        contract.test_a_request_is_counted_once_and_given_back_by_the_call_that_counted_it,
    ),
    (
        Fault("check_budgets forgets the message's", "check_budgets", "not kept and args[name]", "nil"),
        contract.test_where_redis_has_lost_the_budgets_those_of_the_message_count,
    ),
    (
        Fault(
            "check_budgets overlooks the last ones",
            "check_budgets",
            "redis.call('EXISTS', KEYS[2]) == 1 and",
            "false and",
        ),
        contract.test_a_worker_goes_by_the_budgets_of_the_tenants_last_call,
    ),
    (
        Fault("check_budgets is a call too late", "check_budgets", ">= budget", "> budget"),
        contract.test_a_worker_goes_by_the_budgets_of_the_tenants_last_call,
    ),
)


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=lambda each: each.name if isinstance(each, Fault) else "")
async def test_a_planted_fault_is_found(valkey: RedisSettings, fault: Fault, test: Test) -> None:
    sources = fault.plant(scripts_on_test_time())
    kind = TwiceScripts if fault.name == "admit counts its repeat" else Scripts
    async with valkey_harness(valkey, kind(sources)) as harness:
        with pytest.raises(AssertionError):
            await test(harness, BudgetStore(harness.client, harness.scripts))
