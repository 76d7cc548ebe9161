"""Compare the makespan of many prompts with the ideal, which is the model's time only."""

import statistics
from collections.abc import Sequence
from typing import Final

from benchmarks.efficiency import BARE, CLOSEST, QUEUES, WORKER
from benchmarks.measure import THEIRS, Contender, Result, Spread, Task, bars_of, compare, run_together
from benchmarks.report import Bar, Goal, Section, bars, table
from benchmarks.servers import Servers

TASK: Final = Task(prompts=1000, in_flight=100, warm_up=100, milliseconds=1000, batch=1000)
IDEAL_SECONDS: Final = TASK.prompts / TASK.in_flight * TASK.milliseconds / 1000
GOAL: Final = 97
MOST_ROUNDS: Final = 2
"""Each run takes ten seconds, and the model's time does not vary."""

PEERS: Final = (Contender("LangChain abatch", "langchain", THEIRS), *QUEUES)
SLOW: Final = Task(prompts=100, in_flight=100, warm_up=100, milliseconds=10_000, warm_up_milliseconds=100)
ENVIRONMENTS: Final = (1, 2, 4, 8)


def measure(servers: Servers, rounds: int) -> Section:
    """Measure one environment and the alternatives, and then several environments."""
    section = Section("How long a thousand prompts take")
    results = compare(CLOSEST, TASK, servers, min(rounds, MOST_ROUNDS))
    results |= compare(PEERS, TASK, servers, 1)
    shares = {title: Spread([100 * IDEAL_SECONDS / run.wall for run in runs]) for title, runs in results.items()}
    ours = shares[WORKER]
    lost = {title: _lost(results[title]) for title in (WORKER, BARE)}
    section.goals.append(
        Goal(
            "1,000 prompts of 1 s, 100 in flight",
            f"≥ {GOAL} % of ideal",
            f"{ours.text(1)} %",
            ours.median >= GOAL,
            f"a slot spends {_words(lost[WORKER], lost[BARE])}; the bare client reached {shares[BARE].text(1)} %",
        )
    )
    section.paragraphs += [
        (
            f"{TASK.prompts:,} prompts of {TASK.milliseconds / 1000:.0f} s, {TASK.in_flight} at a time: ideally "
            f"{IDEAL_SECONDS:.0f} s. One worker environment, one event; the others as above. Medians, with minimum and "
            f"maximum in brackets. A run takes ten seconds, so the first two run at most {MOST_ROUNDS} times and the "
            "others once."
        ),
        table(("", "% of ideal", "runs"), [(name, each.text(1), len(each.values)) for name, each in shares.items()]),
        bars("makespan", "Share of the ideal, % (dashed: the goal)", bars_of(shares, WORKER), goal=GOAL, digits=1),
        (
            f"The remaining time: average seconds of each of the {TASK.in_flight} slots in addition to the "
            f"{IDEAL_SECONDS:.0f} s of the model; medians of the same runs. The worker reads the event and claims the "
            "first tasks before its first calls, claims the next task between two calls, and records the last answers "
            "after its last ones."
        ),
        table(("", *LOST), [(title, *(f"{each:.3f}" for each in seconds)) for title, seconds in lost.items()]),
        (
            f"Several environments, each with {SLOW.prompts} concurrent prompts of {SLOW.milliseconds // 1000} s, all "
            "on this machine with the model and Valkey. They start together after their warm-up; the time ends with "
            "the last of them. One run of each number; the brackets show the minimum and maximum of the single "
            "environments."
        ),
        *_scaling(servers),
    ]
    return section


LOST: Final = ("before its first call", "in calls beyond the model", "between calls", "after its last call")


def _lost(runs: Sequence[Result]) -> list[float]:
    """Return the average seconds of a slot in each phase, without the model's own time."""
    slots = [run.slot_seconds(TASK.in_flight) for run in runs]
    first, calls, between, last = (statistics.median(each) for each in zip(*slots, strict=True))
    return [first, calls - IDEAL_SECONDS, between, last]


def _words(ours: Sequence[float], theirs: Sequence[float]) -> str:
    parts = zip(ours, theirs, LOST, strict=True)
    return ", ".join(f"{our:.2f} s {where} (bare client {their:.2f})" for our, their, where in parts)


def _scaling(servers: Servers) -> tuple[str, str]:
    rows, plot = [], []
    for number in ENVIRONMENTS:
        results = run_together(CLOSEST[0], SLOW, servers, number)
        seconds = max(run.ended_at for run in results) - min(run.began_at for run in results)
        prompts = sum(run.prompts for run in results)
        share = 100 * SLOW.milliseconds / 1000 / seconds
        own = Spread([100 * SLOW.milliseconds / 1000 / run.wall for run in results])
        cpu = 1000 * sum(run.cpu for run in results) / prompts
        least, most = min(own.values), max(own.values)
        spread = f"{share:.1f} ({least:.1f}-{most:.1f})" if number > 1 else f"{share:.1f}"
        rows.append((number, prompts, f"{seconds:.2f}", f"{prompts / seconds:.1f}", spread, f"{cpu:.2f}"))
        plot.append(Bar(f"{number} environment{'s' if number > 1 else ''}", share, min(share, least), most, True))
    head = ("environments", "prompts", "seconds", "prompts a second", "% of ideal", "worker's CPU ms a prompt")
    return table(head, rows), bars("scaling", "Share of the ideal with several environments, %", plot, digits=1)
