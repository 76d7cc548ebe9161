"""How many calls run at a time: the number that adapts, and the slots that follow it."""

import asyncio

import pytest

from common.work.concurrency import Concurrency
from common.work.slots import Slots

MODEL = "gpt-test"
QUICK = 0.3


def succeed(concurrency: Concurrency, times: int, *, first_token: float = QUICK, at: float = 0.0) -> None:
    for _ in range(times):
        concurrency.succeeded(MODEL, at, at, first_token)


def test_it_starts_at_its_most_and_never_goes_beyond() -> None:
    concurrency = Concurrency(1, 10)

    succeed(concurrency, 50)

    assert concurrency.limit == 10


@pytest.mark.parametrize(("refusals", "limit"), [(1, 5), (2, 2), (3, 1), (9, 1)])
def test_each_refusal_halves_it_down_to_its_least(refusals: int, limit: int) -> None:
    concurrency = Concurrency(1, 10)

    for second in range(refusals):
        concurrency.refused(float(second), second + 0.5)

    assert concurrency.limit == limit


def test_the_least_is_the_operators() -> None:
    concurrency = Concurrency(4, 10)

    for second in range(9):
        concurrency.refused(float(second), second + 0.5)

    assert concurrency.limit == 4


def test_calls_that_were_running_at_a_decrease_do_not_decrease_again() -> None:
    concurrency = Concurrency(1, 16)

    for end in (5.0, 5.1, 5.2, 9.0):
        concurrency.refused(0.0, end)
    assert concurrency.limit == 8

    concurrency.refused(5.0, 9.5)
    assert concurrency.limit == 4, "this one began after it"


def test_as_many_answers_as_it_allows_make_room_for_about_one_more() -> None:
    concurrency = Concurrency(1, 16)
    concurrency.refused(0.0, 1.0)

    grown = []
    for limit in (8, 9, 10):
        succeed(concurrency, limit + 1)
        grown.append(concurrency.limit)

    assert grown == [9, 10, 11]


def test_answers_that_begin_ever_later_ease_it_before_anything_is_refused() -> None:
    concurrency = Concurrency(1, 10)
    succeed(concurrency, 100)

    for second in range(1, 40):
        concurrency.succeeded(MODEL, float(second), second + 0.5, 10 * QUICK)

    assert 1 <= concurrency.limit < 5


def test_one_slow_answer_among_many_changes_nothing() -> None:
    concurrency = Concurrency(1, 10)
    succeed(concurrency, 100)

    succeed(concurrency, 1, first_token=5 * QUICK)

    assert concurrency.limit == 10


def test_a_model_that_is_always_slower_is_not_a_model_that_gets_slower() -> None:
    concurrency = Concurrency(1, 10)

    for second in range(50):
        for model, first_token in (("small", 0.2), ("large", 8.0)):
            concurrency.succeeded(model, float(second), second + 0.5, first_token)

    assert concurrency.limit == 10


# ─── Slots ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Runs:
    """Hold slots until told otherwise, and note the order in which they were had."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.slots = Slots(lambda: self.limit)
        self.running: list[int] = []
        self.ends = [asyncio.Event() for _ in range(6)]

    async def hold(self, number: int) -> None:
        async with self.slots.one():
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

        runs.limit = 1
        await runs.end(0)
        assert runs.running == [1], "one fewer: nobody takes its place"
        await runs.end(1)
        assert runs.running == [2]

        runs.limit = 3
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
    runs.limit = 0
    assert runs.slots._taken == 0
