"""Simulate a day of ten million prompts: pollers, environments, the model's limits and the shared schedule.

Time is simulated, event by event; what the parts take is what was measured. The event source adds pollers as AWS says
it does, up to the cap. An environment takes a batch, waits for the starts that the shared schedule gives, has no more
calls in flight than it may, and takes the next batch when the last answer of this one is there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from random import Random
from typing import Final

from benchmarks.calls import PROMPTS, Counts
from benchmarks.cost import drawn_seconds, overhead
from benchmarks.efficiency import WORKER
from benchmarks.measure import Contender, Task, run
from benchmarks.report import Section, table
from benchmarks.servers import Servers

DAY: Final = 86_400
DAILY: Final = 10_000_000
PEAK: Final = 3.0
"""The busiest moment against the average: the load is a sine over the day."""

FIRST_POLLERS: Final = 5
POLLERS_A_MINUTE: Final = 300
"""How many environments the event source adds, at most."""

SQS_IN_FLIGHT: Final = 120_000
"""Messages that a standard queue lets be received and not deleted."""

STEP: Final = 1.0
CALL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class System:
    """One set-up: what each environment does, how many there may be, and what the model allows (0: no limit)."""

    batch: int
    concurrency: int
    environments: int
    requests_a_minute: int = 0
    overhead: float = 0.02


@dataclass(frozen=True, slots=True)
class Day:
    """What a day came to; times in seconds."""

    done: int
    worst_wait: float
    mean_wait: float
    most_queued: int
    most_busy: int
    most_calls: int


def simulate(system: System, arrivals: Callable[[float], float], seconds: int, draw: Callable[[], float]) -> Day:
    """Run until all that arrived is done. Prompts are taken in order; arrivals are per second."""
    free: list[float] = [0.0] * min(FIRST_POLLERS, system.environments)
    queue: list[tuple[float, int]] = []
    head = queued = done = most_queued = most_busy = most_calls = 0
    waited = worst = carried = next_start = 0.0
    now, in_calls = 0.0, 0
    calls: list[tuple[float, int]] = []
    while now < seconds or queued:
        if now < seconds:
            carried += arrivals(now) * STEP
            came = int(carried)
            carried -= came
            if came:
                queue.append((now, came))
                queued += came
        while calls and calls[0][0] <= now:
            in_calls -= heappop(calls)[1]
        while free and free[0] <= now and queued:
            heappop(free)
            size = min(system.batch, queued)
            slots = [now + system.overhead] * min(system.concurrency, size)
            for _ in range(size):
                arrived, number = queue[head]
                queue[head] = (arrived, number - 1)
                head += number == 1
                start = slots[0]
                if system.requests_a_minute:
                    start = max(start, next_start)
                    next_start = start + 60 / system.requests_a_minute
                heapreplace(slots, start + draw())
                waited += start - arrived
                worst = max(worst, start - arrived)
            queued -= size
            done += size
            end = max(slots)
            heappush(free, end)
            heappush(calls, (end, len(slots)))
            in_calls += len(slots)
        most_queued, most_busy = max(most_queued, queued), max(most_busy, len(calls))
        most_calls = max(most_calls, in_calls)
        if queued > system.batch and len(free) < system.environments:
            for _ in range(min(math.ceil(POLLERS_A_MINUTE * STEP / 60), system.environments - len(free))):
                heappush(free, now)
        now += STEP
    return Day(done, worst, waited / max(done, 1), most_queued, most_busy, most_calls)


def daily(now: float) -> float:
    """Return the prompts a second at a time of the day."""
    average = DAILY / DAY
    return average * max(0.0, 1 + (PEAK - 1) * math.sin(2 * math.pi * now / DAY)) / _AREA


_AREA: Final = sum(max(0.0, 1 + (PEAK - 1) * math.sin(2 * math.pi * second / DAY)) for second in range(0, DAY, 60)) / (
    DAY / 60
)


def measure(servers: Servers, counts: Counts) -> Section:
    """Check the model against measured runs, then let it run for a day."""
    section = Section("Ten million prompts a day, simulated")
    random = Random(1)
    systems = {
        "the template's first defaults": System(10, 10, 10),
        "its defaults: batches of 100, 10 environments": System(100, 100, 10),
        "batches of 100, 40 environments": System(100, 100, 40),
        "the same, the model at 10,000 requests a minute": System(100, 100, 40, requests_a_minute=10_000),
        "the same, the model at 30,000": System(100, 100, 40, requests_a_minute=30_000),
    }
    rows = []
    for name, system in systems.items():
        day = simulate(system, lambda now: daily(now * 10), DAY // 10, lambda: drawn_seconds(random, CALL_SECONDS))
        rows.append(
            (
                name,
                f"{day.done:,}",
                f"{day.mean_wait:.1f}",
                f"{day.worst_wait:.0f}",
                f"{day.most_queued:,}",
                day.most_busy,
                day.most_calls,
            )
        )
    script_us = counts[100, 0]["script_us"] / PROMPTS
    redis_limit = 1_000_000 / script_us
    peak = daily(DAY / 4)
    section.paragraphs += [
        (
            "First the check. Measured runs, and what the simulation says of them with what an invocation takes beyond "
            "the model, as counted above:"
        ),
        _check(servers, overhead(counts)),
        (
            f"Then the day: {DAILY:,} prompts, answers of {CALL_SECONDS:.0f} s on average with log-normal times, a "
            f"sine of load with {peak:.0f} prompts a second at its peak. A tenth of the day is simulated, at its full "
            "load and with its whole rise and fall."
        ),
        table(("", "prompts", "mean wait, s", "worst wait, s", "most queued", "environments", "calls in flight"), rows),
        (
            "What saturates first: calls in flight, Concurrency x MaxWorkers; the peak needs "
            f"{peak * CALL_SECONDS:.0f} of them at least, more as an environment waits for the slowest of its batch. "
            f"Then the model's own limit: {60 * peak:,.0f} requests a minute at the peak; below it the queue grows "
            f"until the load falls, and what waits longer than its deadline fails. Redis is far: {script_us:.0f} µs of "
            f"scripts a prompt were measured here, so one core has time for {redis_limit:,.0f} prompts a second, "
            f"{redis_limit / peak:.0f} times the peak, and tasks spread over the slots of a cluster. SQS lets "
            f"{SQS_IN_FLIGHT:,} messages be in flight; the event source holds BatchSize x MaxWorkers. Lambda's own "
            "account limit of 1,000 environments is far as well with batches of 100, and near with batches of 10: the "
            f"peak takes {peak * CALL_SECONDS * 2 / 10:.0f} of them. Raise MaxWorkers first, then the provider's limit."
        ),
    ]
    return section


def _check(servers: Servers, beyond: tuple[float, float]) -> str:
    rows = []
    for task in (
        Task(prompts=500, in_flight=100, warm_up=100, milliseconds=1000, batch=100),
        Task(prompts=100, in_flight=10, warm_up=10, milliseconds=500, batch=10),
        Task(prompts=300, in_flight=50, warm_up=20, milliseconds=1000, batch=300),
    ):
        seconds = task.milliseconds / 1000
        measured = run(Contender(WORKER, "worker"), task, servers).wall
        # One environment, all prompts there from the start, in steps that are short against an answer.
        simulated = _one_environment(task, seconds, beyond[0] + beyond[1] * task.batch)
        what = f"{task.prompts} of {seconds} s, batches of {task.batch}, {task.in_flight} at a time"
        rows.append((what, f"{measured:.2f}", f"{simulated:.2f}", f"{100 * (simulated / measured - 1):+.1f} %"))
    return table(("", "measured, s", "simulated, s", "difference"), rows)


def _one_environment(task: Task, seconds: float, beyond: float) -> float:
    system = System(task.batch, task.in_flight, 1, overhead=beyond)
    end, left = 0.0, task.prompts
    while left > 0:
        size = min(system.batch, left)
        slots = [end + system.overhead] * min(system.concurrency, size)
        for _ in range(size):
            heapreplace(slots, slots[0] + seconds)
        end = max(slots)
        left -= size
    return end
