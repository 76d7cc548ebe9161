"""Calculate the cost of a million prompts without the model, from counts, simulated response times and list prices."""

import statistics
from collections.abc import Mapping
from functools import cache
from heapq import heapreplace
from random import Random
from typing import Any, Final

from benchmarks.bill import (
    EVENT_BYTES,
    EVENT_SOURCES,
    LOOKS,
    PRICES,
    PROMPTS_A_CALL,
    TOKENS_A_SECOND,
    Choice,
    Taken,
    always,
    elsewhere,
    lines,
)
from benchmarks.calls import MILLISECONDS, PIECES, STREAMED_SECONDS, Counts
from benchmarks.report import Bar, Section, bars, table

WHOLE_PROCESSOR_MB: Final = 1769
WORKER_TIMEOUT: Final = 300
"""Seconds; the template's default."""

SECONDS: Final = (1, 5, 30)
SPREAD: Final = 0.5
"""Sigma of the log-normal times of a model: a tenth of the answers takes nearly twice the median or more."""

DRAWS: Final = 1_000
"""Number of simulated batches of each kind."""


DEFAULT: Final = Choice(100, 100, 1024)
"""The template's defaults."""

CHOICES: Final = (
    Choice(1, 1, 512),
    Choice(10, 10, 1769),
    Choice(10, 10, 512),
    Choice(100, 25, 512),
    Choice(100, 100, 512),
    DEFAULT,
    Choice(100, 100, 1769),
    Choice(1000, 100, 1024),
)


def measure(counts: Counts) -> Section:
    """Compare the choices with each other and with alternatives."""
    section = Section("Cost")
    bills = {choice: [bill(choice, seconds, counts) for seconds in SECONDS] for choice in CHOICES}
    sums = {choice: [sum(each.values()) for each in found] for choice, found in bills.items()}
    piece = processor_of_a_piece(counts)
    rows = [
        (
            choice.name,
            *(f"{price:.2f}{_mark(choice, seconds)}" for price, seconds in zip(dollars, SECONDS, strict=True)),
            f"{100 * choice.concurrency * TOKENS_A_SECOND * piece / share(choice):.0f} %",
        )
        for choice, dollars in sums.items()
    ]
    rows += [(name, *[f"{dollars:.2f}"] * len(SECONDS), "") for name, dollars in elsewhere().items()]
    fixed, slope = overhead(counts)
    section.paragraphs += [
        (
            "US dollars for a million prompts, without the price of the model. The columns are average response times, "
            f"which have a log-normal distribution (sigma {SPREAD}). An invocation is billed until its slowest answer: "
            f"the mean of {DRAWS:,} simulated batches, independent of the memory."
        ),
        (
            "Measured in the section above, without faults: SQS requests as billed, the log, and the time of an "
            f"invocation in addition to the model, {1000 * fixed:.0f} ms and {1000 * slope:.1f} ms a prompt without "
            "streaming, "
            + ", ".join(
                f"{1000 * streamed_slope(counts, each):.1f} ms streamed over {each} s" for each in STREAMED_SECONDS
            )
            + " (including the stand-in's own delay). This is the time on a whole vCPU; less memory takes more. This "
            "section assumes streamed answers. Answers of 30 s take as much as those of 5 s, because the writes of "
            "each second happen during the stream. Cold starts and faults are not included."
        ),
        (
            f"Assumed: {TOKENS_A_SECOND} tokens a second, each an event of {EVENT_BYTES} bytes through the NAT; "
            f"{PROMPTS_A_CALL} prompts a call, read {LOOKS} times. The last column is the utilisation of the "
            f"function's CPU by the events of all concurrent streams, at {1e6 * piece:.0f} µs an event as measured: "
            f"near 100 % they delay each other. Prices: benchmarks/prices.json, {PRICES['region']}, {PRICES['as_of']}, "
            f"each with its source and date, or {PRICES['memory']}."
        ),
        table(("", *(f"{seconds} s" for seconds in SECONDS), "processor"), rows),
        (
            f"Marked *: a batch takes longer than the template's WorkerTimeout, {WORKER_TIMEOUT} s; its remaining "
            "tasks are delivered and paid again. The prices of other services do not include the code that they run."
        ),
        bars(
            "cost",
            f"Dollars for a million prompts of {SECONDS[1]} s, by batch, calls at a time and memory",
            [
                Bar(choice.name.removeprefix("batch "), dollars[1], dollars[1], dollars[1], is_ours=choice == DEFAULT)
                for choice, dollars in sums.items()
            ],
        ),
        f"The cost of the template's defaults ({DEFAULT.name}):",
        table(
            ("", *(f"{seconds} s" for seconds in SECONDS)),
            [
                *((item, *(f"{each[item]:.2f}" for each in bills[DEFAULT])) for item in bills[DEFAULT][0]),
                ("**sum**", *(f"**{dollars:.2f}**" for dollars in sums[DEFAULT])),
            ],
        ),
        (
            f"The fixed cost is added to this: about {sum(always(2, 2).values()):.0f} dollars a month with two cache "
            "nodes and two NAT gateways, about "
            f"{sum(always(1, 1).values()):.0f} with one of each; docs/operations.md has the list. It includes polling "
            f"{EVENT_SOURCES} empty queues, {always(1, 1)['polling']:.2f}. Celery also needs a broker and NAT, which "
            "its row above does not include."
        ),
    ]
    return section


def _mark(choice: Choice, seconds: float) -> str:
    return "*" if seconds * makespan(choice.batch, choice.concurrency) > WORKER_TIMEOUT else ""


def overhead(counts: Counts) -> tuple[float, float]:
    """Fit the overhead of an invocation without streaming: seconds for itself, and for each prompt."""
    return _fit({size: _beyond(run, MILLISECONDS / 1000) for size, run in _whole(counts).items()})


def streamed_slope(counts: Counts, seconds: int) -> float:
    """Return the overhead of a streamed prompt in seconds; the overhead of the invocation itself is the same."""
    return max(0.0, (_beyond(counts[100, 0, seconds], seconds) - overhead(counts)[0]) / 100)


def processor_of_a_piece(counts: Counts) -> float:
    """Return the CPU seconds for one piece of a stream."""
    whole, streamed = (run["processor_us"] / run["prompts"] for run in (counts[100, 0], counts[100, 0, 1]))
    return max(0.0, streamed - whole) / PIECES / 1e6


def bill(choice: Choice, seconds: float, counts: Counts) -> dict[str, float]:
    """Return the dollars of a million streamed prompts with this duration, by item."""
    whole = _whole(counts)
    nearest = min(STREAMED_SECONDS, key=lambda each: abs(each - seconds))
    taken = Taken(
        _fit({size: run["log_bytes"] / run["prompts"] * size for size, run in whole.items()}),
        {size: run["sqs_billed"] / run["prompts"] for size, run in whole.items()},
    )
    beyond = overhead(counts)[0], streamed_slope(counts, nearest)
    return lines(choice, seconds, billed_seconds(choice, seconds, beyond), taken)


def _whole(counts: Counts) -> dict[int, Any]:
    return {size: run for (size, faults, *streamed), run in counts.items() if not faults and not streamed}


def _beyond(run: Mapping[str, int], seconds: float) -> float:
    return run["billed_ms"] / run["invocations"] / 1000 - seconds


def _fit(by_size: Mapping[int, float]) -> tuple[float, float]:
    """Fit a line through the smallest and the largest size; return its intercept and slope."""
    least, most = min(by_size), max(by_size)
    slope = max(0.0, (by_size[most] - by_size[least]) / (most - least))
    return max(0.0, by_size[least] - slope * least), slope


def billed_seconds(choice: Choice, mean: float, beyond: tuple[float, float]) -> float:
    """Return the average time of an invocation; `beyond` is its overhead on a whole vCPU."""
    fixed, slope = beyond
    return mean * makespan(choice.batch, choice.concurrency) + (fixed + slope * choice.batch) / share(choice)


def share(choice: Choice) -> float:
    """Return the share of a vCPU of a function; one thread cannot use more than one."""
    return min(1.0, choice.memory / WHOLE_PROCESSOR_MB)


@cache
def makespan(batch: int, concurrency: int) -> float:
    """Return the average makespan of a batch whose answers take 1 s on average; it scales linearly."""
    if batch == 1:
        return 1.0
    random = Random(f"{batch} {concurrency}")
    return statistics.fmean(drawn_makespan(random, batch, concurrency, 1.0) for _ in range(DRAWS))


def drawn_makespan(random: Random, prompts: int, slots: int, mean: float) -> float:
    """Simulate the makespan of prompts in slots."""
    free = [0.0] * min(slots, prompts)
    end = 0.0
    for _ in range(prompts):
        done = free[0] + drawn_seconds(random, mean)
        heapreplace(free, done)
        end = max(end, done)
    return end


def drawn_seconds(random: Random, mean: float) -> float:
    """Draw the response time of one answer."""
    return mean * random.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)
