"""How many calls run at a time: the numbers that adapt, and the slots that follow them."""

import asyncio

import pytest

from common.worker.concurrency import AdaptiveConcurrency, Origin
from common.worker.semaphore import ResizableSemaphore

MODEL = "gpt-test"
ACME, OTHER, THIRD = (Origin(MODEL, tenant) for tenant in ("acme", "other", "third"))
QUICK = 0.3


def succeed(
    concurrency: AdaptiveConcurrency, times: int, *, origin: Origin = ACME, first_token: float = QUICK, at: float = 0.0
) -> None:
    for _ in range(times):
        concurrency.succeeded(origin, at, at, first_token)


def fail(concurrency: AdaptiveConcurrency, times: int, *origins: Origin) -> None:
    """Let calls of each origin fail, each of which began after the last had failed."""
    for second in range(times):
        for origin in origins or (ACME,):
            concurrency.refused(origin, float(second), second + 0.5)


def test_it_starts_at_its_most_and_never_goes_beyond() -> None:
    concurrency = AdaptiveConcurrency(1, 10)

    succeed(concurrency, 50)

    assert concurrency.of_tenant(ACME) == 10


@pytest.mark.parametrize(("refusals", "limit"), [(1, 5), (2, 2), (3, 1), (9, 1)])
def test_each_refusal_halves_it_down_to_its_least(refusals: int, limit: int) -> None:
    concurrency = AdaptiveConcurrency(1, 10)

    fail(concurrency, refusals)

    assert concurrency.of_tenant(ACME) == limit


def test_the_least_is_the_operators() -> None:
    concurrency = AdaptiveConcurrency(4, 10)

    fail(concurrency, 9)

    assert concurrency.of_tenant(ACME) == 4


def test_calls_that_were_running_at_a_decrease_do_not_decrease_again() -> None:
    concurrency = AdaptiveConcurrency(1, 16)

    for end in (5.0, 5.1, 5.2, 9.0):
        concurrency.refused(ACME, 0.0, end)
    assert concurrency.of_tenant(ACME) == 8

    concurrency.refused(ACME, 5.0, 9.5)
    assert concurrency.of_tenant(ACME) == 4, "this one began after it"


def test_as_many_answers_as_it_allows_make_room_for_about_one_more() -> None:
    concurrency = AdaptiveConcurrency(1, 16)
    concurrency.refused(ACME, 0.0, 1.0)

    grown = []
    for limit in (8, 9, 10):
        succeed(concurrency, limit + 1)
        grown.append(concurrency.of_tenant(ACME))

    assert grown == [9, 10, 11]


def test_answers_that_begin_ever_later_ease_it_before_anything_is_refused() -> None:
    concurrency = AdaptiveConcurrency(1, 10)
    succeed(concurrency, 100)

    for second in range(1, 40):
        concurrency.succeeded(ACME, float(second), second + 0.5, 10 * QUICK)

    assert 1 <= concurrency.of_tenant(ACME) < 5


def test_one_slow_answer_among_many_changes_nothing() -> None:
    concurrency = AdaptiveConcurrency(1, 10)
    succeed(concurrency, 100)

    succeed(concurrency, 1, first_token=5 * QUICK)

    assert concurrency.of_tenant(ACME) == 10


def test_a_model_that_is_always_slower_is_not_a_model_that_gets_slower() -> None:
    concurrency = AdaptiveConcurrency(1, 10)

    small, large = Origin("small", "acme"), Origin("large", "acme")
    for second in range(50):
        for origin, first_token in ((small, 0.2), (large, 8.0)):
            concurrency.succeeded(origin, float(second), second + 0.5, first_token)

    assert (concurrency.of_tenant(small), concurrency.of_tenant(large)) == (10, 10)


# ─── One tenant against all ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_failures_of_one_tenant_leave_every_other_tenant_its_calls() -> None:
    concurrency = AdaptiveConcurrency(1, 10)

    fail(concurrency, 50, OTHER)

    assert concurrency.of_tenant(OTHER) == 1
    assert (concurrency.of_tenant(ACME), concurrency.of_model(MODEL)) == (10, 10)


def test_the_slow_answers_of_one_tenant_leave_every_other_tenant_its_calls() -> None:
    concurrency = AdaptiveConcurrency(1, 10)
    succeed(concurrency, 100, origin=OTHER)

    for second in range(1, 40):
        concurrency.succeeded(OTHER, float(second), second + 0.5, 10 * QUICK)

    assert concurrency.of_tenant(OTHER) < 5
    assert (concurrency.of_tenant(ACME), concurrency.of_model(MODEL)) == (10, 10)


def test_while_the_calls_of_two_tenants_fail_the_limit_of_all_shrinks() -> None:
    concurrency = AdaptiveConcurrency(1, 16)

    fail(concurrency, 1, ACME, OTHER)
    assert concurrency.of_model(MODEL) == 8
    assert concurrency.of_tenant(THIRD) == 16

    fail(concurrency, 9, ACME, OTHER)
    assert concurrency.of_model(MODEL) == 1


def test_a_tenant_whose_calls_are_answered_again_does_not_count_against_all() -> None:
    concurrency = AdaptiveConcurrency(1, 16)

    for second in range(20):
        concurrency.refused(ACME, float(second), second + 0.2)
        succeed(concurrency, 1, origin=ACME, at=second + 0.3)
        concurrency.refused(OTHER, second + 0.4, second + 0.5)
        succeed(concurrency, 1, origin=OTHER, at=second + 0.6)

    assert concurrency.of_model(MODEL) == 16


def test_the_shared_limit_grows_with_the_answers_of_all() -> None:
    concurrency = AdaptiveConcurrency(1, 16)
    fail(concurrency, 1, ACME, OTHER)

    succeed(concurrency, 9, origin=THIRD)

    assert concurrency.of_model(MODEL) == 9


def test_a_model_that_fails_leaves_the_calls_of_other_models_alone() -> None:
    concurrency = AdaptiveConcurrency(1, 10)

    fail(concurrency, 9, Origin("broken", "acme"), Origin("broken", "other"))

    assert concurrency.of_model("broken") == concurrency.of_tenant(Origin("broken", "acme")) == 1
    assert (concurrency.of_model(MODEL), concurrency.of_tenant(ACME)) == (10, 10)


# ─── Slots ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Runs:
    """Hold slots until told otherwise, and note the order in which they were had."""

    def __init__(self, limit: int, **of_tenant: int) -> None:
        self.most = limit
        self.slots = ResizableSemaphore(self)
        self.running: list[int] = []
        self.ends = [asyncio.Event() for _ in range(12)]
        self._of_tenant = of_tenant

    def of_model(self, model: str) -> int:
        return self._of_tenant.get(model, self.most)

    def of_tenant(self, origin: Origin) -> int:
        return self._of_tenant.get(origin.tenant, self.most)

    async def hold(self, number: int, origin: Origin = ACME) -> None:
        async with self.slots.acquire(origin):
            self.running.append(number)
            await self.ends[number].wait()
        self.running.remove(number)

    async def end(self, number: int) -> None:
        self.ends[number].set()
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_slots_are_had_in_the_order_of_asking_and_follow_the_limit() -> None:
    runs = Runs(limit=2)
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(runs.hold(number))
        await settled()
        assert runs.running == [0, 1]

        runs.most = 1
        await runs.end(0)
        assert runs.running == [1], "one fewer: nobody takes its place"
        await runs.end(1)
        assert runs.running == [2]

        runs.most = 3
        await runs.end(2)
        assert runs.running == [3, 4, 5]
        for number in (3, 4, 5):
            runs.ends[number].set()


async def test_one_that_stops_waiting_leaves_its_slot_to_the_next() -> None:
    runs = Runs(limit=1)
    holders = [asyncio.create_task(runs.hold(number)) for number in range(3)]
    await settled()

    # WHEN the second is given its slot and cancelled in the same turn of the loop
    runs.ends[0].set()
    await asyncio.sleep(0)
    holders[1].cancel()
    await settled()

    assert runs.running == [2]
    await runs.end(2)
    assert [holder.cancelled() for holder in holders] == [False, True, False]
    assert runs.slots.running == 0


async def test_who_asks_at_one_moment_shares_the_slots_however_many_one_tenant_asks_for() -> None:
    runs = Runs(limit=4)
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(runs.hold(number, OTHER))
        for number in (8, 9, 10):
            group.create_task(runs.hold(number, ACME))
        await settled()
        assert sorted(runs.running) == [0, 1, 8, 9]

        await runs.end(8)
        assert sorted(runs.running) == [0, 1, 9, 10], "the tenant with fewer running calls is next"
        await runs.end(10)
        assert sorted(runs.running) == [0, 1, 2, 9], "and a slot that it does not need is the other's"
        for end in runs.ends:
            end.set()


async def test_calls_beyond_their_tenants_own_limit_let_the_others_pass() -> None:
    runs = Runs(limit=4, other=1)
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(runs.hold(number, OTHER))
        for number in (8, 9, 10):
            group.create_task(runs.hold(number, ACME))
        await settled()
        assert sorted(runs.running) == [0, 8, 9, 10]
        for end in runs.ends:
            end.set()


async def test_calls_beyond_their_models_limit_let_those_of_other_models_pass() -> None:
    runs = Runs(limit=4, broken=1)
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(runs.hold(number, Origin("broken", f"tenant-{number}")))
        for number in (8, 9, 10):
            group.create_task(runs.hold(number, ACME))
        await settled()
        assert sorted(runs.running) == [0, 8, 9, 10]
        for end in runs.ends:
            end.set()
