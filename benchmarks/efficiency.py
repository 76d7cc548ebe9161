"""Compare the CPU of one prompt: the real worker, the bare client, and what people use instead."""

from typing import Final

from benchmarks.measure import THEIRS, Contender, Result, Spread, Task, compare, ratios
from benchmarks.report import Bar, Goal, Section, bars, table
from benchmarks.servers import Servers

WORKER: Final = "Sluice's worker"
BARE: Final = "AsyncOpenAI, aiohttp, a semaphore"
TYPED: Final = "AsyncOpenAI's typed stream"
QUEUES: Final = ("Celery, threads", "taskiq", "arq")

WHOLE: Final = Task(prompts=600, in_flight=100, warm_up=100, milliseconds=200)
STREAMED: Final = Task(prompts=200, in_flight=100, warm_up=100, milliseconds=1000, chunks=50)
SMALL: Final = Task(prompts=100, in_flight=10, warm_up=20, milliseconds=200, batch=10)

CLOSEST: Final = (Contender(WORKER, "worker"), Contender(BARE, "bare"))
WHOLE_CONTENDERS: Final = (
    *CLOSEST,
    Contender("AsyncOpenAI, httpx", "bare", arguments=("--httpx",)),
    Contender("LangChain abatch", "langchain", THEIRS),
    Contender("Celery, threads", "celery", THEIRS),
    Contender("taskiq", "taskiq", THEIRS),
    Contender("arq", "arq", THEIRS),
    Contender("a thread and a client a task", "threads", THEIRS, prompts=100),
)
STREAM_CONTENDERS: Final = (Contender(WORKER, "worker"), Contender(TYPED, "bare"))

WORKER_GOAL, STREAM_GOAL, QUEUE_GOAL = 1.2, 0.5, 0.5


def measure(servers: Servers, rounds: int) -> Section:
    """Measure answers that come whole, streamed ones, and small batches."""
    section = Section("CPU of one prompt")
    whole = compare(WHOLE_CONTENDERS, WHOLE, servers, rounds)
    for title, runs in compare(CLOSEST, WHOLE, servers, rounds).items():
        whole[title] += runs  # so near to each other that noise matters most: twice as often
    streamed = compare(STREAM_CONTENDERS, STREAMED, servers, rounds)
    small = compare(CLOSEST, SMALL, servers, rounds)
    to_bare = ratios(whole, WORKER, BARE)
    to_typed = ratios(streamed, WORKER, TYPED)
    section.goals += [
        _goal("CPU, against the bare client", to_bare, WORKER_GOAL, "claim, completion, booking and log are in it"),
        _goal("the same, streamed", to_typed, STREAM_GOAL, "it parses each piece, and writes the text so far"),
    ]
    for queue in QUEUES:
        why = f"{queue} itself takes {ratios(whole, queue, BARE).median:.1f} x the bare client's here"
        section.goals.append(_goal(f"the same, against {queue}", ratios(whole, WORKER, queue), QUEUE_GOAL, why))
    section.paragraphs += [
        (
            f"{WHOLE.prompts} prompts, {WHOLE.in_flight} in flight, a model that answers after {WHOLE.milliseconds} "
            f"ms, CPU of the contender's own process, after {WHOLE.warm_up} prompts to warm up. The worker is the real "
            f"handler: it is given events of {WHOLE.batch} messages, and claims, completes and books each task in "
            f"Valkey. Medians of {rounds} rounds, {2 * rounds} of the first two, least and most in brackets; ratios "
            "are taken round by round."
        ),
        _table(whole, BARE),
        bars("cpu", "CPU of one prompt, ms (least to most)", _bars(whole), goal=None),
        (
            f"Streamed in {STREAMED.chunks} pieces over {STREAMED.milliseconds} ms; the worker also writes status and "
            "the text so far to Redis once a second."
        ),
        _table(streamed, TYPED),
        f"An invocation of {SMALL.batch} messages, {SMALL.in_flight} in flight, has less to share:",
        _table(small, BARE),
    ]
    return section


def _goal(what: str, ratio: Spread, goal: float, why: str) -> Goal:
    return Goal(what, f"≤ {goal} x", f"{ratio.text()} x", ratio.median <= goal, why)


def _table(results: dict[str, list[Result]], base: str) -> str:
    rows = [
        (
            title,
            _spread(runs).text(),
            ratios(results, title, base).text(),
            f"{max(run.peak_kb for run in runs) // 1024}",
        )
        for title, runs in results.items()
    ]
    return table(("", "CPU ms", "ratio", "memory MB"), rows)


def _spread(runs: list[Result]) -> Spread:
    return Spread([run.cpu_ms for run in runs])


def _bars(results: dict[str, list[Result]]) -> list[Bar]:
    spreads = {title: _spread(runs) for title, runs in results.items()}
    return [
        Bar(title, spread.median, min(spread.values), max(spread.values), title == WORKER)
        for title, spread in spreads.items()
    ]
