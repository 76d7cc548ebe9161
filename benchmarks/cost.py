"""Work out what a million prompts cost beside the model, from what was counted and a dated list of prices."""

import json
import statistics
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.calls import MILLISECONDS, PROMPTS, Counts
from benchmarks.report import Section, table

PRICES: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("prices.json").read_text())
MILLION: Final = 1_000_000
HOURS: Final = 730
"""In a month."""

WHOLE_PROCESSOR_MB: Final = 1769
LOG_BYTES: Final = 480
"""Of a prompt's line in the worker's log."""

MODEL_BYTES: Final = 4_000
"""Of a request to the model and its answer, through the NAT."""

CALLERS_CALLS: Final = 4
"""HTTP calls for a thousand prompts: one POST and three GETs."""

CALLERS_GB_SECONDS: Final = 0.6
"""Of submit (1 GB) and status (0.5 GB), for those."""

SECONDS: Final = (1, 5, 30)
SPREAD: Final = 0.5
"""Sigma of the log-normal times of a model: a tenth of the answers takes nearly twice the median or more."""

DRAWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to set up the worker."""

    batch: int
    concurrency: int
    memory: int
    note: str = ""

    @property
    def name(self) -> str:
        """Name it in a table."""
        return f"batch {self.batch}, {self.concurrency} at a time, {self.memory} MB{self.note}"


CHOICES: Final = (
    Choice(1, 1, 512, ": one prompt an invocation"),
    Choice(10, 10, 1769),
    Choice(10, 10, 512),
    Choice(100, 25, 512),
    Choice(100, 100, 512),
    Choice(100, 100, 1024),
    Choice(100, 100, 1769),
    Choice(1000, 100, 1024),
)


def measure(counts: Counts) -> Section:
    """Compare the choices with each other and with what people pay elsewhere."""
    section = Section("Cost")
    fixed, slope = overhead(counts)
    sqs = {size: counts[size, 0]["sqs_billed"] / PROMPTS for size, faults in counts if not faults}
    rows = []
    for choice in CHOICES:
        prices = []
        for seconds in SECONDS:
            billed = _billed_seconds(choice, seconds, fixed, slope)
            prices.append(f"{_dollars(choice, billed, sqs):.2f}")
        rows.append((choice.name, *prices))
    celery = 2 * HOURS * (0.25 * PRICES["fargate_arm_vcpu_hour"] + 0.5 * PRICES["fargate_arm_gb_hour"])
    rows.append(
        (
            f"Celery on two always-on Fargate tasks of 0.25 vCPU, at 1 million a month: {celery:.2f} a month",
            *[f"{celery:.2f}"] * 3,
        )
    )
    rows += [
        (f"{name} (list price, without the compute)", *[f"{price:.2f}"] * 3)
        for name, price in PRICES["hosted_million"].items()
    ]
    month = HOURS * (2 * PRICES["cache_node_hour"] + PRICES["nat_hour"])
    section.paragraphs += [
        (
            f"US dollars for a million prompts, without the model's own price, for answers of {_words()} on average "
            f"with log-normal times (sigma {SPREAD}): an invocation is billed until its slowest answer. Counted: SQS "
            f"requests as billed, and what an invocation takes beyond the model, {fixed * 1000:.0f} ms and "
            f"{slope * 1000:.1f} ms a prompt at a whole processor, more with less memory. Added: Lambda's requests, "
            f"{CALLERS_CALLS} HTTP calls for a thousand prompts, {LOG_BYTES} bytes of log and {MODEL_BYTES} bytes "
            f"through a NAT a prompt. Prices: benchmarks/prices.json, {PRICES['region']}, {PRICES['as_of']}; "
            f"{PRICES['checked']}."
        ),
        table(("", *(f"{seconds} s" for seconds in SECONDS)), rows),
        (
            f"Beside that stands what runs always: about {month:.0f} dollars a month for two small cache nodes and one "
            "NAT gateway. Celery needs its broker too, and the NAT; neither is in the line above."
        ),
    ]
    return section


def _words() -> str:
    return ", ".join(f"{seconds} s" for seconds in SECONDS)


def overhead(counts: Counts) -> tuple[float, float]:
    """Fit what an invocation takes beyond the model: seconds for itself, and for each prompt."""
    sizes = sorted({size for size, faults in counts if not faults})
    beyond = [
        counts[size, 0]["billed_ms"] / counts[size, 0]["invocations"] / 1000 - MILLISECONDS / 1000 for size in sizes
    ]
    slope = max(0.0, (beyond[-1] - beyond[0]) / (sizes[-1] - sizes[0]))
    return max(0.0, beyond[0] - slope * sizes[0]), slope


def _billed_seconds(choice: Choice, mean: float, fixed: float, slope: float) -> float:
    """Return the average time of an invocation."""
    random = Random(f"{choice.name} {mean}")
    draws = max(50, DRAWS // choice.batch)
    times = [drawn_makespan(random, choice.batch, choice.concurrency, mean) for _ in range(draws)]
    share = max(1.0, WHOLE_PROCESSOR_MB / choice.memory)
    return statistics.fmean(times) + (fixed + slope * choice.batch) * share


def drawn_makespan(random: Random, prompts: int, slots: int, mean: float) -> float:
    """Draw how long so many prompts take in so many slots."""
    free = [0.0] * min(slots, prompts)
    end = 0.0
    for _ in range(prompts):
        done = free[0] + drawn_seconds(random, mean)
        heapreplace(free, done)
        end = max(end, done)
    return end


def drawn_seconds(random: Random, mean: float) -> float:
    """Draw how long one answer takes."""
    return mean * random.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)


def _dollars(choice: Choice, billed: float, sqs: dict[int, float]) -> float:
    invocations = MILLION / choice.batch
    # One message at a time is received and deleted one at a time, and sent ten at a time.
    requests = 2.1 if choice.batch == 1 else sqs[min(sqs, key=lambda size: abs(size - choice.batch))]
    callers = MILLION / 1000 * CALLERS_CALLS
    return float(
        invocations * billed * choice.memory / 1024 * PRICES["lambda_gb_second_arm"]
        + (invocations + callers) / MILLION * PRICES["lambda_million_requests"]
        + requests * PRICES["sqs_million_requests"]
        + callers / MILLION * PRICES["rest_api_million_calls"]
        + MILLION / 1000 * CALLERS_GB_SECONDS * PRICES["lambda_gb_second_arm"]
        + MILLION * LOG_BYTES / 1e9 * PRICES["logs_gb"]
        + MILLION * MODEL_BYTES / 1e9 * PRICES["nat_gb"]
    )
