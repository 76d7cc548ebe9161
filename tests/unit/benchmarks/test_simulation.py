"""Test the simulation of pollers, environments, limits and deadlines."""

import re
from collections.abc import Sequence
from functools import partial
from random import Random

import pytest

from benchmarks import day as days
from benchmarks.cost import DEFAULT, drawn_makespan, drawn_seconds
from benchmarks.simulation import FIRST_POLLERS, Day, Invocation, Invocations, System, drawn, simulate
from common.domain.rate_limits import HORIZON_MS
from local.settings import ROOT

MINUTE = 60


def simulated(system: System, arrivals: Sequence[int], seconds: float = 5.0) -> Day:
    return simulate(system, arrivals, Invocations(lambda _: seconds))


def random_answers() -> Invocations:
    return Invocations(partial(drawn_seconds, mean=5.0))


@pytest.mark.parametrize(
    "system",
    [
        System(10, 10, 1000),
        System(100, 100, 4, deadline=50.0),
        System(100, 20, 3, overhead=0.1, overhead_a_prompt=0.01, deadline=90.0),
        System(7, 7, 50, requests_a_minute=900, deadline=30.0),
    ],
)
def test_all_that_arrived_is_answered_or_past_its_deadline(system: System) -> None:
    arrivals = [second * 37 % 80 for second in range(200)]

    day = simulate(system, arrivals, random_answers())

    assert day.done + day.failed == sum(arrivals)


@pytest.mark.parametrize(
    ("batch", "concurrency", "rounds"), [(100, 100, 5), (100, 50, 10), (500, 100, 5), (30, 20, 33)]
)
def test_one_environment_with_constant_answers_is_exact(batch: int, concurrency: int, rounds: int) -> None:
    system = System(batch, concurrency, 1, overhead=0.25, overhead_a_prompt=0.5)

    day = simulated(system, [500], seconds=3.0)

    invocations = -(-500 // batch)
    assert day.ended_at == pytest.approx(rounds * 3.0 + 0.25 * invocations + 0.5 * 500)
    assert day.done == 500


def test_environments_share_what_is_there() -> None:
    day = simulated(System(100, 100, 3, overhead=0.5, pollers=3), [600], seconds=20.0)

    assert (day.ended_at, day.most_busy, day.most_calls) == (41.0, 3, 300)
    assert day.mean_wait == (0.5 + 21.0) / 2
    assert day.worst_wait == 21.0


def test_calls_in_flight_are_those_that_are_not_over_yet() -> None:
    invocation = Invocation(starts=(0.0, 0.0, 2.0), ends=(1.0, 3.0, 5.0), sum_of_starts=2.0)

    assert [invocation.calls(second) for second in (-0.1, 0, 0.9, 1, 2, 3, 4.9, 5)] == [0, 2, 2, 1, 2, 1, 1, 0]


def test_a_call_waits_for_a_slot_and_for_its_place_in_the_schedule() -> None:
    assert drawn(4, 2, 0.0, lambda: 3.0).starts == (0.0, 0.0, 3.0, 3.0)
    assert drawn(4, 2, 2.0, lambda: 3.0).starts == (0.0, 2.0, 4.0, 6.0)
    assert drawn(4, 4, 0.5, lambda: 3.0).ends == (3.0, 3.5, 4.0, 4.5)


def test_an_invocation_is_drawn_as_its_cost_is() -> None:
    one, same = (Random(1) for _ in range(2))  # noqa: S311  # chance here draws load, not secrets

    invocation = drawn(100, 25, 0.0, lambda: drawn_seconds(one, 5.0))

    assert invocation.ends[-1] == drawn_makespan(same, 100, 25, 5.0)


def test_requests_a_minute_are_kept_to_and_used_up() -> None:
    limit, prompts = 600, 6_000
    system = System(20, 20, 100, requests_a_minute=limit)

    day = simulated(system, [prompts])

    # Starts are 0.1 s apart, the first at once.
    last_start = (prompts - 1) * MINUTE / limit
    assert day.worst_wait == pytest.approx(last_start)
    assert day.ended_at == pytest.approx(last_start + 5.0)


def test_starts_are_booked_no_farther_ahead_than_the_horizon() -> None:
    system = System(20, 20, 100, requests_a_minute=600, pollers=100)

    day = simulated(system, [6_000])

    # A batch's starts take two seconds, and its last answer five more.
    assert day.most_busy <= HORIZON_MS / 1000 / 2 + 5 / 2 + 2


def test_pollers_begin_with_five_and_grow_by_three_hundred_a_minute() -> None:
    # Each environment keeps what it has taken; counted every ten seconds, before that second's.
    day = simulated(System(1, 1, 1000), [1_000], seconds=1_000.0)

    taken = [1_000 - queued for queued in day.queued]
    assert taken[:4] == [0, FIRST_POLLERS + 9 * 5, FIRST_POLLERS + 19 * 5, FIRST_POLLERS + 29 * 5]


def test_pollers_grow_to_the_maximum_concurrency_and_not_beyond() -> None:
    assert simulated(System(1, 1, 40), [100] * 60, seconds=30.0).most_busy == 40
    assert simulated(System(1, 1, 2), [100] * 60, seconds=30.0).most_busy == 2


def test_a_wait_in_an_overloaded_system_is_that_of_a_fluid() -> None:
    # Ten come in a second and five are answered: the last that comes waits as long as all have come.
    arrivals = [10] * 3_600

    day = simulate(System(20, 20, 100, requests_a_minute=300), arrivals, random_answers())

    assert day.worst_wait == pytest.approx(3_600, rel=0.02)
    assert day.most_queued == pytest.approx(18_000, rel=0.02)
    assert day.mean_wait == pytest.approx(1_800, rel=0.02)


def test_a_day_with_a_limit_below_its_peak_waits_as_a_fluid_does() -> None:
    prompts, limit = 50_000, 50  # the same part of the peak as of the page's first limit
    arrivals = days.arrivals(prompts)
    queue = deepest = 0.0
    for came in arrivals:
        queue = max(0.0, queue + came - limit / MINUTE)
        deepest = max(deepest, queue)

    day = simulate(System(10, 10, 100, requests_a_minute=limit), arrivals, random_answers())

    assert day.most_queued == pytest.approx(deepest, rel=0.02)
    assert day.worst_wait == pytest.approx(deepest / limit * MINUTE, rel=0.02)


def test_what_is_past_its_deadline_when_its_turn_comes_is_counted_and_not_asked() -> None:
    # Ten every ten seconds: the turns of those in the queue come at 0, 10, … 50.
    day = simulated(System(10, 10, 1, deadline=50.0), [100], seconds=10.0)

    assert (day.done, day.failed, day.worst_wait, day.ended_at) == (60, 40, 50.0, 60.0)


def test_of_a_batch_only_those_past_their_deadline_fail() -> None:
    day = simulated(System(10, 10, 1, deadline=15.0), [15] + [0] * 8 + [5], seconds=20.0)

    assert (day.done, day.failed, day.ended_at) == (15, 5, 40.0)


def test_each_simulation_has_the_same_draws() -> None:
    answers, system = random_answers(), System(10, 10, 20)
    arrivals = [20] * 60

    assert simulate(system, arrivals, answers) == simulate(system, arrivals, answers)
    assert simulate(system, arrivals, answers) == simulate(system, arrivals, random_answers())


def test_a_days_arrivals_are_all_there_and_as_high_as_the_peak_says() -> None:
    arrivals = days.arrivals(1_000_000)

    assert (len(arrivals), sum(arrivals)) == (86_400, 1_000_000)
    assert max(arrivals) == pytest.approx(1_000_000 * days.peak_share(), abs=1)


def test_the_fewest_environments_are_enough_and_one_less_is_not() -> None:
    arrivals, answers = days.arrivals(300_000), random_answers()

    found = days.sufficient(System(10, 10, 0), arrivals, answers)

    waits = [
        simulate(System(10, 10, number), arrivals, answers).worst_wait
        for number in (found.environments - 1, found.environments)
    ]
    assert waits[1] < days.WAIT_GOAL <= waits[0]


def test_the_defaults_are_those_of_the_template() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")

    def found(pattern: str) -> int:
        match = re.search(pattern, template)
        assert match, pattern
        return int(match[1])

    for parameter, value in (
        ("BatchSize", DEFAULT.batch),
        ("Concurrency", DEFAULT.concurrency),
        ("MaxWorkers", days.MAX_WORKERS),
    ):
        assert found(rf"\n  {parameter}:\n(?:    .*\n)*?    Default: (\d+)\n") == value
    assert found(r"\n  WorkerFunction:\n(?:    .*\n|\n)*?      MemorySize: (\d+)\n") == DEFAULT.memory
    assert found(r"\n          DEADLINE_SECONDS: \"(\d+)\"\n") == days.DEADLINE_SECONDS
