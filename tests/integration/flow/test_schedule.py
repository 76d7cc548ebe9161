"""Test the replies of the scripts of the shared rate limits."""

import asyncio

import pytest

from common.domain.errors import StoreUnavailable
from common.domain.rate_limits import (
    HORIZON_MS,
    NO_LIMIT,
    Feedback,
    Limit,
    Pauses,
    RateRefusal,
    StartRequest,
    StartTime,
)
from common.runtime.settings import RedisSettings
from common.store import RateLimitStore, connect
from common.store.keys import (
    CALLS_HALF_LIFE_MS,
    INITIAL_PAUSE_MS,
    LONGEST_PAUSE_MS,
    PAUSE_MEMORY_MS,
    PROVIDER_WORD_MS,
)
from tests.integration.flow.conftest import ACME, MODEL, OTHER, Flows

ONE_A_SECOND = Limit(requests=60)
SIX_THOUSAND_TOKENS = Limit(tokens=6_000)
ONE = 1


# ─── Starts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_starts_are_a_minute_divided_by_the_limit_apart_whoever_asks(flows: Flows) -> None:
    assert await flows.waits(ONE_A_SECOND, ONE, ONE, ONE) == [0, 1_000, 2_000]
    assert await flows.waits(ONE_A_SECOND, ONE) == [3_000]

    await flows.advance(2_500)
    assert await flows.waits(ONE_A_SECOND, ONE) == [1_500]


async def test_time_in_which_nobody_starts_is_not_saved_up(flows: Flows) -> None:
    await flows.waits(ONE_A_SECOND, ONE)
    await flows.advance(60_000)

    assert await flows.waits(ONE_A_SECOND, ONE, ONE) == [0, 1_000]


async def test_a_start_beyond_the_horizon_is_told_and_not_booked(flows: Flows) -> None:
    slow = Limit(requests=15)
    assert await flows.waits(slow, ONE, ONE, ONE, ONE, ONE) == [0, 4_000, 8_000, 12_000, 16_000]
    assert HORIZON_MS == 10_000

    assert await flows.waits(slow, ONE) == [12_000], "its place is still free"
    await flows.advance(2_000)
    assert await flows.waits(slow, ONE) == [10_000]
    assert await flows.waits(slow, ONE) == [14_000]


async def test_a_call_makes_the_next_wait_for_as_long_as_its_tokens_take(flows: Flows) -> None:
    assert await flows.waits(SIX_THOUSAND_TOKENS, 300, 100, 50) == [0, 3_000, 4_000]
    assert await flows.waits(SIX_THOUSAND_TOKENS, ONE) == [4_500]


async def test_of_two_limits_the_later_start_counts(flows: Flows) -> None:
    both = Limit(requests=60, tokens=6_000)

    assert await flows.waits(both, 10, 300, 10, 10) == [0, 1_000, 4_000, 5_000]


async def test_a_call_larger_than_a_minute_starts_and_pays_afterwards(flows: Flows) -> None:
    assert await flows.waits(SIX_THOUSAND_TOKENS, 12_000) == [0]
    await flows.advance(115_000)

    assert await flows.waits(SIX_THOUSAND_TOKENS, ONE) == [5_000]


@pytest.mark.parametrize(("used", "wait"), [(-200, 1_000), (400, 7_000), (-10_000, 0)])
async def test_what_a_call_really_used_moves_the_next_start(flows: Flows, used: int, wait: int) -> None:
    await flows.waits(SIX_THOUSAND_TOKENS, 300)

    assert await flows.waits(SIX_THOUSAND_TOKENS, ONE, feedback=Feedback(tokens=used)) == [wait]


async def test_models_and_limits_do_not_get_in_each_others_way(flows: Flows) -> None:
    await flows.waits(ONE_A_SECOND, *[ONE] * 5)

    other = await flows.reserve(ONE_A_SECOND, ONE, model="{odd} model")
    assert [start.wait_ms for start in other] == [0]


async def test_without_a_limit_nothing_waits_and_nothing_is_kept(flows: Flows) -> None:
    assert await flows.waits(NO_LIMIT, 10_000, 10_000) == [0, 0]

    assert [key async for key in flows.client.scan_iter("rate:*")] == []


# ─── The provider's word ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_lower_limit_of_the_providers_counts_for_a_while(flows: Flows) -> None:
    lower = Feedback(provider=Limit(requests=30, tokens=3_000))
    await flows.waits(Limit(requests=60, tokens=60_000), ONE, feedback=lower)

    assert await flows.waits(Limit(requests=60, tokens=60_000), 100, ONE) == [2_000, 4_000]
    await flows.advance(PROVIDER_WORD_MS)
    assert await flows.waits(Limit(requests=60, tokens=60_000), 1_000, ONE) == [0, 1_000]


async def test_a_higher_limit_of_the_providers_changes_nothing(flows: Flows) -> None:
    higher = Feedback(provider=Limit(requests=600, tokens=60_000))

    assert await flows.waits(ONE_A_SECOND, ONE, ONE, feedback=higher) == [0, 1_000]


@pytest.mark.parametrize("feedback", [Feedback(request_wait_ms=7_000), Feedback(token_wait_ms=7_000)])
async def test_where_the_provider_has_nothing_left_the_next_start_waits_for_its_reset(
    flows: Flows, feedback: Feedback
) -> None:
    both = Limit(requests=60, tokens=6_000)

    assert await flows.waits(both, ONE, feedback=feedback) == [7_000]


# ─── Pauses ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_refusal_pauses_its_tenants_calls_and_says_so(flows: Flows) -> None:
    assert await flows.refuse("task", wait_ms=5_000) == Pauses(5_000, 0, are_others_refused=False)

    assert await flows.reserve(NO_LIMIT, ONE, ONE, tenant=ACME) == [StartTime(5_000, 5_000, is_booked=False)] * 2
    assert await flows.waits(NO_LIMIT, ONE, tenant=OTHER) == [0]
    await flows.advance(5_000)
    assert await flows.waits(NO_LIMIT, ONE, tenant=ACME) == [0]


async def test_the_calls_of_a_paused_tenant_take_no_starts_of_others(flows: Flows) -> None:
    await flows.refuse("task", wait_ms=5_000)

    paused = await flows.reserve(ONE_A_SECOND, ONE, ONE, tenant=ACME)

    assert paused == [StartTime(5_000, 5_000, is_booked=False)] * 2
    assert await flows.waits(ONE_A_SECOND, ONE, ONE, tenant=OTHER) == [0, 1_000]
    await flows.advance(5_000)
    assert await flows.waits(ONE_A_SECOND, ONE, ONE, tenant=ACME) == [0, 1_000]


async def test_a_pause_of_all_holds_every_start_one_after_the_other(flows: Flows) -> None:
    await flows.refuse("task", wait_ms=5_000)
    assert await flows.refuse("another", OTHER, wait_ms=5_000) == Pauses(5_000, 5_000, are_others_refused=True)

    for tenant in (None, ACME, "third"):
        assert await flows.waits(NO_LIMIT, ONE, ONE, tenant=tenant) == [5_000, 5_000]
    assert await flows.waits(ONE_A_SECOND, ONE, ONE, tenant="third") == [5_000, 6_000]


async def test_the_longer_of_two_pauses_stands(flows: Flows) -> None:
    assert (await flows.refuse("one", wait_ms=5_000)).tenant_ms == 5_000
    await flows.advance(1_000)

    assert (await flows.refuse("two", wait_ms=2_000)).tenant_ms == 4_000
    assert (await flows.refuse("three", wait_ms=30_000)).tenant_ms == 30_000


async def test_a_pause_has_an_end_whatever_the_provider_asks(flows: Flows) -> None:
    assert (await flows.refuse("task", wait_ms=10**9)).tenant_ms == LONGEST_PAUSE_MS


async def test_a_pause_that_names_no_time_doubles_with_each_refusal_of_another_task(flows: Flows) -> None:
    pauses = []
    for number in range(8):
        pauses.append((await flows.refuse(f"task {number}")).tenant_ms)
        on_its_way = await flows.refuse(f"another {number}")
        assert on_its_way.tenant_ms == pauses[-1], "a call that was on its way says nothing new"
        await flows.advance(pauses[-1])

    assert pauses == [INITIAL_PAUSE_MS * factor for factor in (1, 2, 4, 8, 16, 32)] + [LONGEST_PAUSE_MS] * 2
    await flows.advance(PAUSE_MEMORY_MS)
    assert (await flows.refuse("task")).tenant_ms == INITIAL_PAUSE_MS


# ─── One task, or one tenant, against all ─────────────────────────────────────────────────────────────────────────────


async def test_a_task_that_is_refused_again_prolongs_no_pause(flows: Flows) -> None:
    await flows.refuse("task", wait_ms=5_000)
    await flows.advance(4_000)
    assert (await flows.refuse("task", wait_ms=5_000)).tenant_ms == 1_000

    await flows.advance(1_000)
    for _ in range(10):
        assert (await flows.refuse("task", wait_ms=5_000)).tenant_ms == 0
        await flows.advance(30_000)


async def test_a_task_that_is_known_to_be_refused_alone_changes_nothing(flows: Flows) -> None:
    await flows.refuse("first", wait_ms=5_000)
    await flows.advance(5_000)

    for number in range(10):
        refusal = await flows.refuse(f"task {number}", OTHER, wait_ms=5_000, is_known=True)
        assert (refusal.tenant_ms, refusal.shared_ms) == (0, 0)

    assert await flows.waits(NO_LIMIT, ONE, tenant=OTHER) == [0]


async def test_however_many_tasks_of_one_tenant_are_refused_the_others_are_not_paused(flows: Flows) -> None:
    for number in range(200):
        assert (await flows.refuse(f"task {number}")).shared_ms == 0
        await flows.advance(500)

    assert await flows.waits(NO_LIMIT, ONE, tenant=ACME) != [0]
    assert await flows.waits(NO_LIMIT, ONE, tenant=OTHER) == [0]


async def test_two_tenants_that_are_refused_pause_all_for_longer_each_time(flows: Flows) -> None:
    pauses = []
    for number in range(4):
        assert (await flows.refuse(f"task {number}")).shared_ms == 0, "one of them alone is no reason"
        pauses.append((await flows.refuse(f"another {number}", OTHER)).shared_ms)
        await flows.advance(10_000)

    assert pauses == [1_000, 2_000, 4_000, 8_000]


async def test_a_tenant_that_was_refused_long_ago_is_no_second_one(flows: Flows) -> None:
    await flows.refuse("task")
    await flows.advance(PAUSE_MEMORY_MS)
    await flows.refuse("another", "third")
    await flows.refuse("one more", "third")
    await flows.advance(PAUSE_MEMORY_MS)

    assert (await flows.refuse("last", OTHER)).shared_ms == 0


async def test_where_most_calls_are_let_through_a_refusal_is_the_tasks_own(flows: Flows) -> None:
    await flows.let_through(100)

    refusals = [await flows.refuse(f"task {number}", f"tenant {number}") for number in range(40)]

    assert [refusal.are_others_refused for refusal in refusals] == [False] * 34 + [True] * 6
    assert [refusal.shared_ms > 0 for refusal in refusals[:34]] == [False] * 34


async def test_the_longest_pause_gets_shorter_at_once(flows: Flows) -> None:
    pauses = []
    for number in range(20):
        pauses.append((await flows.refuse(f"task {number}")).tenant_ms)
        await flows.advance(pauses[-1])
    await flows.let_through(1, ACME)

    assert pauses[-1] == LONGEST_PAUSE_MS
    assert (await flows.refuse("task")).tenant_ms == 32_000


async def test_a_tenants_pauses_get_shorter_while_its_calls_are_let_through(flows: Flows) -> None:
    pauses = []
    for number in range(6):
        pauses.append((await flows.refuse(f"task {number}")).tenant_ms)
        await flows.advance(pauses[-1])
        await flows.let_through(1, ACME if number > 2 else OTHER)

    assert pauses == [1_000, 2_000, 4_000, 8_000, 4_000, 2_000]


async def test_the_pauses_of_all_get_shorter_while_anybodys_calls_are_let_through(flows: Flows) -> None:
    pauses = []
    for number in range(4):
        await flows.refuse(f"task {number}")
        pauses.append((await flows.refuse(f"another {number}", OTHER)).shared_ms)
        await flows.advance(10_000)
        await flows.let_through(number // 2, "third")

    assert pauses == [1_000, 2_000, 4_000, 2_000]


async def test_a_tasks_own_refusals_are_not_those_of_others(flows: Flows) -> None:
    for seconds in (1, 10, 100, 1_000) * 5:
        assert not (await flows.refuse("task")).are_others_refused
        await flows.advance(seconds * 1_000)


async def test_what_was_let_through_and_refused_counts_less_and_less(flows: Flows) -> None:
    await flows.let_through(8)
    await flows.refuse("task")
    await flows.refuse("another")
    assert not (await flows.refuse("third")).are_others_refused, "two of ten are less than a quarter"

    await flows.advance(CALLS_HALF_LIFE_MS)
    await flows.refuse("fourth")
    assert (await flows.refuse("fifth")).are_others_refused, "three halves and one are more than a quarter of four more"

    await flows.advance(3 * CALLS_HALF_LIFE_MS)
    assert not (await flows.refuse("sixth")).are_others_refused


async def test_every_key_of_a_pause_has_a_time_to_live(flows: Flows) -> None:
    await flows.let_through(3)
    await flows.refuse("task", wait_ms=30_000)
    await flows.refuse("another", OTHER)

    names = [key async for key in flows.client.scan_iter("pause:*")]
    assert len(names) == 3
    assert all([await flows.client.pexpiretime(name) > flows.now_ms for name in names])


# ─── Calls in flight ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_tenants_invocations_share_its_cap(flows: Flows) -> None:
    assert await flows.store.acquire_slots("one", {"acme": 6, "other": 9}, 10, 60_000) == {"acme": 6, "other": 9}
    assert await flows.store.acquire_slots("two", {"acme": 6}, 10, 60_000) == {"acme": 4}
    assert await flows.store.acquire_slots("three", {"acme": 6}, 10, 60_000) == {"acme": 0}

    assert await flows.store.acquire_slots("one", {"acme": 0}, 10, 60_000) == {"acme": 0}
    assert await flows.store.acquire_slots("three", {"acme": 7}, 10, 60_000) == {"acme": 6}


async def test_a_share_taken_twice_by_a_lost_reply_counts_once(flows: Flows) -> None:
    for _ in range(2):
        assert await flows.store.acquire_slots("one", {"acme": 6}, 10, 60_000) == {"acme": 6}

    assert await flows.store.acquire_slots("two", {"acme": 6}, 10, 60_000) == {"acme": 4}


async def test_a_dead_invocations_share_is_free_when_its_lease_is_over(flows: Flows) -> None:
    await flows.store.acquire_slots("dead", {"acme": 10}, 10, 60_000)
    await flows.store.acquire_slots("alive", {"acme": 1}, 11, 90_000)
    await flows.advance(60_000)

    assert await flows.store.acquire_slots("next", {"acme": 10}, 10, 60_000) == {"acme": 9}


async def test_a_flow_that_cannot_be_reached_is_unavailable(unused_tcp_port: int) -> None:
    client = connect(RedisSettings("127.0.0.1", unused_tcp_port, tls=False, cluster=False, username=None))
    store = RateLimitStore(client)

    for question in (
        store.reserve("model/m", NO_LIMIT, [StartRequest(1)], Feedback()),
        store.refused(RateRefusal(MODEL, ACME, "task")),
        store.acquire_slots("one", {"acme": 1}, 1, 1_000),
    ):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(question, 30)
    await client.aclose()
