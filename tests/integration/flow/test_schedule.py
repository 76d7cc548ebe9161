"""What the scripts of the shared flow answer."""

import asyncio

import pytest

from common.errors import StoreUnavailable
from common.flow import HORIZON_MS, NO_LIMIT, Feedback, Limit
from common.settings import RedisSettings
from common.store import FlowStore, connect
from common.store.keys import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, PAUSE_MEMORY_MS, PROVIDER_WORD_MS
from tests.integration.flow.conftest import MODEL, Flows

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
    assert other.waits_ms == (0,)


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


async def test_a_pause_holds_every_start_and_says_so(flows: Flows) -> None:
    assert await flows.store.pause(MODEL, 5_000) == 5_000

    booking = await flows.reserve(ONE_A_SECOND, ONE, ONE)
    assert (booking.paused_ms, booking.waits_ms) == (5_000, (5_000, 6_000))
    assert await flows.waits(NO_LIMIT, ONE, ONE) == [5_000, 5_000]
    await flows.advance(5_000)
    assert (await flows.reserve(NO_LIMIT, ONE)).paused_ms == 0


async def test_the_longer_of_two_pauses_stands(flows: Flows) -> None:
    assert await flows.store.pause(MODEL, 5_000) == 5_000
    await flows.advance(1_000)

    assert await flows.store.pause(MODEL, 2_000) == 4_000
    assert await flows.store.pause(MODEL, 30_000) == 30_000


async def test_a_pause_has_an_end_whatever_the_provider_asks(flows: Flows) -> None:
    assert await flows.store.pause(MODEL, 10**9) == LONGEST_PAUSE_MS


async def test_a_pause_that_names_no_time_doubles_with_each_one_in_a_row(flows: Flows) -> None:
    pauses = []
    for _ in range(8):
        pauses.append(await flows.store.pause(MODEL, None))
        assert await flows.store.pause(MODEL, None) == pauses[-1], "a call that was on its way says nothing new"
        await flows.advance(pauses[-1])

    assert pauses == [FIRST_PAUSE_MS * factor for factor in (1, 2, 4, 8, 16, 32)] + [LONGEST_PAUSE_MS] * 2
    await flows.advance(PAUSE_MEMORY_MS)
    assert await flows.store.pause(MODEL, None) == FIRST_PAUSE_MS


# ─── Calls in flight ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_tenants_invocations_share_its_cap(flows: Flows) -> None:
    assert await flows.store.share("one", {"acme": 6, "other": 9}, 10, 60_000) == {"acme": 6, "other": 9}
    assert await flows.store.share("two", {"acme": 6}, 10, 60_000) == {"acme": 4}
    assert await flows.store.share("three", {"acme": 6}, 10, 60_000) == {"acme": 0}

    assert await flows.store.share("one", {"acme": 0}, 10, 60_000) == {"acme": 0}
    assert await flows.store.share("three", {"acme": 7}, 10, 60_000) == {"acme": 6}


async def test_a_share_taken_twice_by_a_lost_reply_counts_once(flows: Flows) -> None:
    for _ in range(2):
        assert await flows.store.share("one", {"acme": 6}, 10, 60_000) == {"acme": 6}

    assert await flows.store.share("two", {"acme": 6}, 10, 60_000) == {"acme": 4}


async def test_a_dead_invocations_share_is_free_when_its_lease_is_over(flows: Flows) -> None:
    await flows.store.share("dead", {"acme": 10}, 10, 60_000)
    await flows.store.share("alive", {"acme": 1}, 11, 90_000)
    await flows.advance(60_000)

    assert await flows.store.share("next", {"acme": 10}, 10, 60_000) == {"acme": 9}


async def test_a_flow_that_cannot_be_reached_is_unavailable(unused_tcp_port: int) -> None:
    client = connect(RedisSettings("127.0.0.1", unused_tcp_port, tls=False, cluster=False, username=None))
    store = FlowStore(client)

    for question in (
        store.reserve("model/m", NO_LIMIT, [1], Feedback()),
        store.pause(MODEL, None),
        store.share("one", {"acme": 1}, 1, 1_000),
    ):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(question, 30)
    await client.aclose()
