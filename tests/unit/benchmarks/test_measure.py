"""Test the evaluation of benchmark runs: spreads, ratios and the time of a slot."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from benchmarks.contenders.load import peak_kb
from benchmarks.measure import Result, Spread, bars_of, ratios
from benchmarks.report import Bar

HELD_BYTES = 200_000_000


def result(cpu: float = 1.0, wall: float = 1.0, calls: tuple[tuple[float, float], ...] = ()) -> Result:
    return Result(wall=wall, cpu=cpu, prompts=len(calls) or 1, peak_kb=None, ended_at=1.0, began_at=0.0, calls=calls)


def test_a_spread_of_several_values_names_the_least_and_the_most() -> None:
    assert Spread([3.0, 1.0, 2.0]).text() == "2.00 (1.00-3.00)"


def test_a_single_value_has_no_spread_to_name() -> None:
    assert Spread([94.41]).text(1) == "94.4"


def test_ratios_are_taken_within_the_rounds_that_both_ran() -> None:
    results = {"ours": [result(cpu=2), result(cpu=6), result(cpu=9)], "theirs": [result(cpu=1), result(cpu=2)]}
    assert ratios(results, "ours", "theirs").values == [2, 3]


def test_ours_is_drawn_in_its_own_colour() -> None:
    spreads = {"ours": Spread([1.0, 2.0, 4.0]), "theirs": Spread([5.0])}
    assert bars_of(spreads, "ours") == [Bar("ours", 2, 1, 4, True), Bar("theirs", 5, 5, 5)]


def test_the_time_of_a_slot_adds_up_to_the_run() -> None:
    # GIVEN two slots with two calls each, which begin, end and wait at different times
    calls = ((0.5, 1.5), (1.0, 2.0), (1.75, 2.75), (2.5, 3.75))

    # WHEN the run's time is shared out
    first, asking, between, last = result(wall=3.75, calls=calls).slot_seconds(2)

    # THEN each part is the slots' average, and nothing is left over
    assert (first, asking, between, last) == (0.75, 2.125, 0.375, 0.5)
    assert first + asking + between + last == 3.75


def test_the_memory_of_a_run_is_not_that_of_who_started_it() -> None:
    # GIVEN a parent that holds much
    parent = dedent(f"""
        import subprocess, sys
        held = bytearray({HELD_BYTES})
        child = "from benchmarks.contenders.load import peak_kb; print(peak_kb())"
        print(subprocess.run([sys.executable, "-c", child], capture_output=True, check=True, text=True).stdout)
    """)
    if peak_kb() is None:
        pytest.skip("only Linux says it")

    # WHEN it asks a child for its peak
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", parent], cwd=root, capture_output=True, check=True, text=True)

    # THEN the child tells its own
    assert 0 < int(done.stdout) < HELD_BYTES // 1024
