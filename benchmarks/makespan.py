"""Compare how long many prompts take with what they would take if only the model took time."""

from typing import Final

from benchmarks.efficiency import BARE, CLOSEST, WORKER
from benchmarks.measure import THEIRS, Contender, Spread, Task, compare, run_together
from benchmarks.report import Bar, Goal, Section, bars, table
from benchmarks.servers import Servers

TASK: Final = Task(prompts=1000, in_flight=100, warm_up=100, milliseconds=1000, batch=1000)
IDEAL_SECONDS: Final = TASK.prompts / TASK.in_flight * TASK.milliseconds / 1000
GOAL: Final = 97
MOST_ROUNDS: Final = 2
"""Each is ten seconds of waiting, and the model's time does not vary."""

PEERS: Final = (
    Contender("LangChain abatch", "langchain", THEIRS),
    Contender("Celery, threads", "celery", THEIRS),
    Contender("taskiq", "taskiq", THEIRS),
    Contender("arq", "arq", THEIRS),
)
SLOW: Final = Task(prompts=100, in_flight=100, warm_up=10, milliseconds=10_000)
ENVIRONMENTS: Final = (1, 2, 4, 8)


def measure(servers: Servers, rounds: int) -> Section:
    """Measure one environment, beside the others, and then several."""
    section = Section("How long a thousand prompts take")
    results = compare(CLOSEST, TASK, servers, min(rounds, MOST_ROUNDS))
    results |= compare(PEERS, TASK, servers, 1)
    shares = {title: Spread([100 * IDEAL_SECONDS / run.wall for run in runs]) for title, runs in results.items()}
    ours = shares[WORKER]
    section.goals.append(
        Goal(
            "1,000 prompts of 1 s, 100 in flight",
            f"≥ {GOAL} % of ideal",
            f"{ours.text(1)} %",
            ours.median >= GOAL,
            f"the bare client reached {shares[BARE].text(1)} % beside it",
        )
    )
    section.paragraphs += [
        (
            f"{TASK.prompts:,} prompts of {TASK.milliseconds / 1000:.0f} s, {TASK.in_flight} at a time: ideally "
            f"{IDEAL_SECONDS:.0f} s. One worker environment, one event; the others as above, one run each."
        ),
        table(("", "% of ideal"), [(title, share.text(1)) for title, share in shares.items()]),
        bars(
            "makespan",
            "Share of the ideal, %",
            [
                Bar(title, share.median, min(share.values), max(share.values), title == WORKER)
                for title, share in shares.items()
            ],
            goal=GOAL,
            digits=1,
        ),
        (
            f"Several environments, each with {SLOW.prompts} prompts of {SLOW.milliseconds // 1000} s at once, all on "
            "this machine with the model and Valkey:"
        ),
        _scaling(servers),
    ]
    return section


def _scaling(servers: Servers) -> str:
    rows = []
    worker = Contender(WORKER, "worker")
    for number in ENVIRONMENTS:
        servers.empty_redis()
        results = run_together(worker, SLOW, servers, number)
        seconds = max(run.ended_at for run in results) - min(run.began_at for run in results)
        prompts = sum(run.prompts for run in results)
        share = 100 * SLOW.milliseconds / 1000 / seconds
        rows.append((number, prompts, f"{seconds:.2f}", f"{prompts / seconds:.1f}", f"{share:.1f}"))
    return table(("environments", "prompts", "seconds", "prompts a second", "% of ideal"), rows)
