"""Simulate a day of ten million prompts, and report the resource that saturates first and the setting to raise."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Final

from benchmarks.calls import Counts, at_seconds
from benchmarks.cost import DEFAULT, drawn_seconds, makespan, overhead, share, streamed_slope
from benchmarks.curves import Curve, curves
from benchmarks.report import Section, table
from benchmarks.saturation import Resource, saturation
from benchmarks.servers import Servers
from benchmarks.simulation import SAMPLE_SECONDS, Day, Invocations, System, simulate
from benchmarks.validation import validated

HOUR: Final = 3600
DAY: Final = 24 * HOUR
DAILY: Final = 10_000_000
AMPLITUDE: Final = 2.0
"""Amplitude of the daily sine. Negative values are cut to zero (nights without load), and the sum is scaled back."""

BUSY_HOURS: Final = slice(11 * HOUR, 13 * HOUR)
CALL_SECONDS: Final = 5
WAIT_GOAL: Final = 60
"""Maximum wait in seconds for the search of the number of environments."""

MAX_WORKERS: Final = 10
DEADLINE_SECONDS: Final = 21_600
"""The default of template.yaml."""

SMALL_BATCH: Final = 10
LOW_LIMIT, HIGH_LIMIT = 10_000, 30_000
"""Requests per minute: below and above the peak."""

ACCOUNT_ENVIRONMENTS: Final = 1_000
"""Default concurrency quota of an account."""

SQS_IN_FLIGHT: Final = 120_000
"""Quota of a standard queue for messages that are received and not deleted."""

PLOT_SECONDS: Final = 300


def measure(servers: Servers, counts: Counts) -> Section:
    """Validate the simulation against measured runs, then simulate a day."""
    section = Section("Ten million prompts a day, simulated")
    part = share(DEFAULT)
    fixed, slope = overhead(counts)[0] / part, streamed_slope(counts, CALL_SECONDS) / part
    defaults = System(DEFAULT.batch, DEFAULT.concurrency, MAX_WORKERS, fixed, slope, deadline=DEADLINE_SECONDS)
    coming, answers = arrivals(DAILY), Invocations(partial(drawn_seconds, mean=CALL_SECONDS))
    enough = sufficient(defaults, coming, answers)
    small = sufficient(replace(defaults, batch=SMALL_BATCH, concurrency=SMALL_BATCH), coming, answers)
    systems = {
        f"the defaults: batches of {DEFAULT.batch}, {MAX_WORKERS} environments": defaults,
        f"{enough.environments} environments": enough,
        f"the same, the model at {LOW_LIMIT:,} requests a minute": replace(enough, requests_a_minute=LOW_LIMIT),
        f"the same, the model at {HIGH_LIMIT:,}": replace(enough, requests_a_minute=HIGH_LIMIT),
        f"batches of {SMALL_BATCH}, {small.environments} environments": small,
    }
    days = {name: simulate(system, coming, answers) for name, system in systems.items()}
    peak = DAILY * peak_share()
    script_us = at_seconds(counts, CALL_SECONDS)["script_us"]
    section.paragraphs += [
        (
            "Validation: measured runs whose prompts are all queued at the start, and the simulation of the same runs "
            "with the overhead of an invocation as measured above. All environments run on this machine."
        ),
        validated(servers, overhead(counts)),
        (
            f"The simulated day: {DAILY:,} prompts, answers streamed for {CALL_SECONDS} s on average with log-normal "
            f"times, no prompts at night and {peak:.0f} prompts a second at noon, {peak * DAY / DAILY:.1f} times the "
            f"average. A full batch takes {fixed + slope * DEFAULT.batch:.2f} s in addition to the model at "
            f"{DEFAULT.memory} MB. A prompt that waits longer than its deadline, {DEADLINE_SECONDS:,} s, fails without "
            "a call. A wait lasts from the arrival to the start of the call; environments and calls are the numbers at "
            f"the peak. {enough.environments} and {small.environments} environments are the smallest numbers with "
            f"which no prompt waits for {WAIT_GOAL} s."
        ),
        table(
            (
                "",
                "answered",
                "past the deadline",
                "mean wait, s",
                "worst wait, s",
                "most queued",
                "environments",
                "calls in flight",
            ),
            [_row(name, day) for name, day in days.items()],
        ),
        _plot(dict(list(days.items())[:3])),
        (
            "A limit above the peak also spaces the calls of a batch, so each batch takes slightly longer. The "
            "simulation ignores cold starts, failed calls and their repeats, and that the event source may deliver "
            "partial batches while others wait. If the model's limit delays prompts, the simulation leaves them in the "
            "queue; the real worker receives them and returns them to the queue until a start is free."
        ),
        *saturation(_resources(peak, enough, small, script_us)),
    ]
    return section


def arrivals(prompts: int) -> list[int]:
    """Return the number of arrivals in each second of a day."""
    load = _load()
    scale = prompts / sum(load)
    return [after - before for before, after in pairwise(round(each * scale) for each in accumulate(load, initial=0))]


def peak_share() -> float:
    """Return the share of a day's prompts in its busiest second."""
    load = _load()
    return max(load) / sum(load)


def _load() -> list[float]:
    return [max(0.0, 1 - AMPLITUDE * math.cos(2 * math.pi * second / DAY)) for second in range(DAY)]


def sufficient(system: System, coming: Sequence[int], answers: Invocations) -> System:
    """Return the system with the fewest environments that keeps every wait of the busy hours below WAIT_GOAL."""
    busy = coming[BUSY_HOURS]
    seconds = CALL_SECONDS * makespan(system.batch, system.concurrency)
    seconds += system.overhead + system.overhead_a_prompt * system.batch
    # The need at the peak with full batches. It may be slightly less, because a backlog of a minute is allowed.
    full = max(busy) * seconds / system.batch
    numbers = range(math.floor(0.9 * full), math.ceil(1.1 * full))

    def is_enough(number: int) -> bool:
        tried = replace(system, environments=number, pollers=number)
        return simulate(tried, busy, answers).worst_wait < WAIT_GOAL

    return replace(system, environments=numbers[bisect_left(numbers, True, key=is_enough)])


def _row(name: str, day: Day) -> tuple[object, ...]:
    return (
        name,
        f"{day.done:,}",
        f"{day.failed:,}",
        f"{day.mean_wait:,.1f}",
        f"{day.worst_wait:,.0f}",
        f"{day.most_queued:,}",
        day.most_busy,
        f"{day.most_calls:,}",
    )


def _plot(days: Mapping[str, Day]) -> str:
    every = PLOT_SECONDS // SAMPLE_SECONDS
    lines = [Curve(name, day.queued[::every]) for name, day in days.items()]
    return curves("queue", "Prompts in the queue over the day, from midnight", lines, PLOT_SECONDS)


def _resources(peak: float, enough: System, small: System, script_us: float) -> list[Resource]:
    model = "the provider's limit and ModelLimits"
    account = "the quota of the account"
    return [
        Resource(
            f"environments of the defaults, batches of {DEFAULT.batch}", MAX_WORKERS, enough.environments, "MaxWorkers"
        ),
        Resource(
            "calls in flight of the defaults, Concurrency x MaxWorkers",
            DEFAULT.concurrency * MAX_WORKERS,
            peak * CALL_SECONDS,
            "MaxWorkers, or BatchSize and Concurrency",
        ),
        *(
            Resource(f"a model of {limit:,} requests a minute", limit, 60 * peak, model)
            for limit in (LOW_LIMIT, HIGH_LIMIT)
        ),
        *(
            Resource(
                f"Lambda's environments, batches of {system.batch}", ACCOUNT_ENVIRONMENTS, system.environments, account
            )
            for system in (enough, small)
        ),
        Resource(
            "SQS messages in flight", SQS_IN_FLIGHT, DEFAULT.batch * enough.environments, "the quota of the queue"
        ),
        Resource("Redis, µs of scripts a second on one core", 1_000_000, peak * script_us, "the nodes of the cluster"),
    ]
