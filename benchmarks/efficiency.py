"""Compare the CPU of one prompt: the real worker, the bare client, and common alternatives."""

from typing import Final

from benchmarks.measure import THEIRS, Contender, Result, Spread, Task, bars_of, compare, ratios
from benchmarks.report import Goal, Section, bars, table
from benchmarks.servers import Servers

WORKER: Final = "Sluice's worker"
BARE: Final = "AsyncOpenAI, aiohttp, a semaphore"
TYPED: Final = "AsyncOpenAI's typed stream"
CELERY: Final = "Celery, threads"
TASKIQ: Final = "taskiq"
ARQ: Final = "arq"

WHOLE: Final = Task(prompts=600, in_flight=100, warm_up=100, milliseconds=200)
STREAMED: Final = Task(prompts=200, in_flight=100, warm_up=100, milliseconds=1000, chunks=50)
SMALL: Final = Task(prompts=100, in_flight=10, warm_up=20, milliseconds=200, batch=10)

CLOSEST: Final = (Contender(WORKER, "worker"), Contender(BARE, "bare"))
QUEUES: Final = (
    Contender(CELERY, "celery", THEIRS),
    Contender(TASKIQ, "taskiq", THEIRS),
    Contender(ARQ, "arq", THEIRS),
)
WHOLE_CONTENDERS: Final = (*CLOSEST, *QUEUES)
ONCE: Final = (
    Contender("AsyncOpenAI, httpx", "bare", arguments=("--httpx",)),
    Contender("LangChain abatch", "langchain", THEIRS),
    Contender("a thread and a client a task", "threads", THEIRS, prompts=100),
)
"""Contenders without a goal."""

STREAMING_ROUNDS: Final = 2
"""Maximum number of streamed rounds of the queues: each run takes ten seconds."""

STREAM_CONTENDERS: Final = (Contender(WORKER, "worker"), Contender(TYPED, "bare"))

WORKER_GOAL, STREAM_GOAL, QUEUE_GOAL = 1.2, 0.5, 0.5


def measure(servers: Servers, rounds: int) -> Section:
    """Measure whole answers, streamed answers, and small batches."""
    section = Section("CPU of one prompt")
    whole = compare(WHOLE_CONTENDERS, WHOLE, servers, rounds)
    for title, runs in compare(CLOSEST, WHOLE, servers, rounds).items():
        whole[title] += runs  # the closest pair, most affected by noise: twice as many runs
    whole |= compare(ONCE, WHOLE, servers, 1)
    streamed = compare(STREAM_CONTENDERS, STREAMED, servers, rounds)
    streamed |= compare(QUEUES, STREAMED, servers, min(rounds, STREAMING_ROUNDS))
    small = compare(CLOSEST, SMALL, servers, rounds)
    to_bare = ratios(whole, WORKER, BARE)
    to_typed = ratios(streamed, WORKER, TYPED)
    section.goals += [
        _goal("the bare client, whole answers", to_bare, WORKER_GOAL, "it includes claim, completion, booking and log"),
        _goal(
            f"{TYPED}, streamed answers",
            to_typed,
            STREAM_GOAL,
            "the worker parses each piece, and writes the text so far",
        ),
    ]
    for queue in QUEUES:
        why = f"{queue.title} itself takes {ratios(whole, queue.title, BARE).median:.1f} x the CPU of the bare client"
        section.goals += [
            _goal(f"{queue.title}, whole answers", ratios(whole, WORKER, queue.title), QUEUE_GOAL, why),
            _goal(f"{queue.title}, streamed answers", ratios(streamed, WORKER, queue.title), QUEUE_GOAL, why),
        ]
    section.paragraphs += [
        (
            f"{WHOLE.prompts} prompts, {WHOLE.in_flight} in flight, a model that answers after {WHOLE.milliseconds} "
            f"ms, CPU of the contender's own process, after a warm-up of {WHOLE.warm_up} prompts. Medians, with "
            "minimum and maximum in brackets; a ratio compares two runs of one round. Memory is the maximum of all "
            "runs."
        ),
        (
            "Answers in this table are not streamed, because the alternatives are mostly used without streaming. The "
            "worker always requests a stream and also accepts a whole answer, which this table measures. Real "
            "providers stream; see the next table."
        ),
        (
            f"The worker is the real handler: it claims, completes and books each task in Valkey. It receives events "
            f"of {WHOLE.batch} messages, as in Lambda, where AWS's poller receives and deletes messages. The queues "
            "receive and acknowledge their messages themselves, and their figures include this. arq polls Redis every "
            "0.05 s, not every 0.5 s as by default. taskiq is pinned to the last version that is compatible with arq's "
            "Redis client."
        ),
        _table(whole, BARE),
        bars("cpu", "CPU of one prompt, ms (least to most)", bars_of(_spreads(whole), WORKER)),
        (
            f"Streamed in {STREAMED.chunks} pieces over {STREAMED.milliseconds} ms. The worker also writes status and "
            "the text so far to Redis once a second. The queues' tasks read the SDK's typed stream and store only the "
            "whole text."
        ),
        _table(streamed, TYPED),
        "CPU of the worker's streamed answers, relative to the queues' streamed answers and to their whole answers:",
        _across(streamed, whole),
        f"An invocation of {SMALL.batch} messages, {SMALL.in_flight} in flight, divides its cost by fewer prompts:",
        _table(small, BARE),
    ]
    return section


def _goal(against: str, ratio: Spread, goal: float, why: str) -> Goal:
    return Goal(f"CPU against {against}", f"≤ {goal} x", f"{ratio.text()} x", ratio.median <= goal, why)


def _across(streamed: dict[str, list[Result]], whole: dict[str, list[Result]]) -> str:
    ours = _spreads(streamed)[WORKER].median
    medians = [{title: each.median for title, each in _spreads(results).items()} for results in (streamed, whole)]
    rows = [(queue.title, *(f"{ours / median[queue.title]:.2f}" for median in medians)) for queue in QUEUES]
    return table(("", "ratio to streamed", "ratio to whole"), rows)


def _table(results: dict[str, list[Result]], base: str) -> str:
    rows = [
        (
            title,
            spread.text(),
            "1" if title == base else ratios(results, title, base).text(),
            _memory(results[title]),
            len(results[title]),
        )
        for title, spread in _spreads(results).items()
    ]
    return table(("", "CPU ms", "ratio", "memory MB", "runs"), rows)


def _memory(runs: list[Result]) -> str:
    peaks = [run.peak_kb for run in runs if run.peak_kb is not None]
    return f"{max(peaks) // 1024}" if peaks else "-"


def _spreads(results: dict[str, list[Result]]) -> dict[str, Spread]:
    return {title: Spread([run.cpu_ms for run in runs]) for title, runs in results.items()}
