"""Count the requests of one prompt, with the real submit and worker in their own process (counting.py).

SQS requests are those of submit, the worker and the event source. The event source is simulated; it receives and
deletes ten messages at a time, the maximum of SQS.
"""

import json
import statistics
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.measure import OURS, Spread
from benchmarks.report import Goal, Section, table
from benchmarks.servers import Servers
from local.settings import ROOT

PROMPTS: Final = 200
"""Prompts of a run without streaming."""

STREAMED_PROMPTS: Final = 300
"""Prompts of a run with streaming."""

MILLISECONDS: Final = 250
"""Duration of a response that is not streamed; it does not affect the counts."""

FAULTS: Final = 5
REDIS_GOAL, SQS_GOAL = 2.0, 0.35
SIZES: Final = (10, 100)
PIECES: Final = 50
STREAMED_SECONDS: Final = (1, 5)
"""Durations of streams with the same number of pieces; they differ in what the worker does each second."""

LONGEST_SECONDS: Final = 30
COLUMNS: Final = {
    "redis_trips": ("Redis round trips", 2),
    "redis_commands": ("commands sent", 2),
    "redis_in": ("bytes to Redis", 0),
    "redis_out": ("bytes from it", 0),
    "sqs": ("SQS requests", 3),
    "sqs_billed": ("as billed", 3),
    "calls": ("model calls", 2),
    "script_us": ("µs of scripts", 0),
    "log_bytes": ("bytes of log", 0),
}
"""The title and digits of each count per prompt."""


type Counts = dict[tuple[int, ...], Counter[str]]
"""Counts by batch size and faults per hundred, and for streams by their seconds too."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of run and its number of repetitions."""

    size: int
    faults: int = 0
    seconds: int = 0
    """Duration of the stream; 0 for a response that is not streamed."""
    times: int = 1

    @property
    def key(self) -> tuple[int, ...]:
        """Return its key among the counts."""
        return (self.size, self.faults, self.seconds) if self.seconds else (self.size, self.faults)

    @property
    def name(self) -> str:
        """Return its name for a table."""
        faults = f", {self.faults} % faults" if self.faults else ""
        return f"batches of {self.size}" + (f", streamed over {self.seconds} s" if self.seconds else faults)

    @property
    def prompts(self) -> int:
        """Return the number of prompts in a run."""
        return STREAMED_PROMPTS if self.seconds else PROMPTS

    def model(self, servers: Servers) -> str:
        """Return the URL of a model with this behaviour."""
        return servers.model(1000 * self.seconds or MILLISECONDS, PIECES if self.seconds else 0, self.faults)


KINDS: Final = (
    Kind(10, times=2),
    Kind(10, FAULTS),
    Kind(100, times=3),
    Kind(100, FAULTS),
    *(Kind(100, seconds=seconds) for seconds in STREAMED_SECONDS),
)


def measure(servers: Servers) -> tuple[Section, Counts]:
    """Count with and without faults, in small and large batches, and with streams."""
    section = Section("Requests of one prompt")
    counts: Counts = {}
    rows = []
    for kind in KINDS:
        runs = [counted(servers, kind, kind.prompts) for _ in range(kind.times)]
        counts[kind.key] = _mean(runs)
        spreads = {name: Spread([run[name] / run["prompts"] for run in runs]) for name in COLUMNS}
        rows.append(
            (f"{kind.name}, n = {kind.times}", *(_cell(spreads[name], digits) for name, (_, digits) in COLUMNS.items()))
        )
        section.goals += _goals(kind.name, spreads)
    longest = at_seconds(counts, LONGEST_SECONDS)
    rows.append(
        (
            f"the same over {LONGEST_SECONDS} s, extrapolated",
            *(f"{longest[name]:.{digits}f}" for name, (_, digits) in COLUMNS.items()),
        )
    )
    section.paragraphs += [
        (
            "These are all requests from POST to the last answer, including both. The messages of an event run "
            "concurrently, in an environment that has processed one event before. The first rows have one call of "
            f"{PROMPTS} prompts whose answers are not streamed and take {MILLISECONDS} ms. Faults are 500s, 429s and "
            "interrupted bodies in turn. The other rows have streams, as real providers send them: the worker also "
            f"writes status and text so far to Redis once a second. They have {STREAMED_PROMPTS} prompts whose answers "
            f"come in {PIECES} pieces. These writes grow with the seconds: the last row extrapolates the two streams "
            "linearly, for the same amount of text. Round trips and commands are counted at the client's socket, bytes "
            "and time by the server, and the log's bytes at the output. Medians of n runs, with minimum and maximum "
            "where they differ."
        ),
        table(("", *(title for title, _ in COLUMNS.values())), rows),
    ]
    return section, counts


def _mean(runs: list[Counter[str]]) -> Counter[str]:
    return Counter({name: round(statistics.fmean(run[name] for run in runs)) for name in runs[0]})


def _cell(spread: Spread, digits: int) -> str:
    text = f"{spread.median:.{digits}f}"
    same = all(f"{value:.{digits}f}" == text for value in spread.values)
    return text if same else spread.text(digits)


def _goals(what: str, spreads: dict[str, Spread]) -> list[Goal]:
    trips, sqs = spreads["redis_trips"], spreads["sqs"]
    why = "failed messages are received and deleted again, in small events"
    return [
        Goal(f"Redis round trips a prompt, {what}", f"≤ {REDIS_GOAL:.0f}", _cell(trips, 2), trips.median <= REDIS_GOAL),
        Goal(f"SQS requests a prompt, {what}", f"≤ {SQS_GOAL}", _cell(sqs, 3), sqs.median <= SQS_GOAL, why),
    ]


def at_seconds(counts: Counts, seconds: float) -> dict[str, float]:
    """Extrapolate the counts of a prompt to a longer stream, linearly in its duration."""
    (near, one), (far, other) = ((each, counts[100, 0, each]) for each in STREAMED_SECONDS)
    share = (seconds - near) / (far - near)
    per_prompt = {name: (one[name] / one["prompts"], other[name] / other["prompts"]) for name in COLUMNS}
    return {name: first + share * max(0.0, second - first) for name, (first, second) in per_prompt.items()}


def counted(servers: Servers, kind: Kind, prompts: int) -> Counter[str]:
    """Run submit and worker in a separate process and return its counts."""
    servers.empty_redis()
    command = [
        *(str(OURS), "-m", "benchmarks.counting", "--size", str(kind.size), "--prompts", str(prompts)),
        *("--port", str(servers.port), "--redis-port", str(servers.redis_port), "--url", kind.model(servers)),
    ]
    done = subprocess.run(  # noqa: S603  # ours
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    return Counter(json.loads(done.stdout.splitlines()[-1]))


def api_event(body: str) -> dict[str, Any]:
    """Return the event of POST /tasks with this body."""
    event: dict[str, Any] = json.loads((ROOT / "tests" / "events" / "submit.json").read_text())
    return {**event, "body": body}


def status_event(ids: Sequence[str]) -> dict[str, Any]:
    """Return the event of GET /tasks for these IDs."""
    event: dict[str, Any] = json.loads((ROOT / "tests" / "events" / "status.json").read_text())
    asked = ",".join(ids)
    return {
        **event,
        "queryStringParameters": {"task_ids": asked},
        "multiValueQueryStringParameters": {"task_ids": [asked]},
    }


def submit_environment(names: dict[str, str]) -> dict[str, str]:
    """Return the environment of the worker extended for submit and status."""
    return {
        **names,
        "WORKFLOW_QUEUE_URL": names["QUEUE_URL"].replace("tasks", "workflows"),
        "ALLOWED_MODELS": "gpt-5-mini",
        "DEADLINE_SECONDS": "21600",
        "RETENTION_SECONDS": "86400",
        "MAX_PROMPTS": "1000",
        "MAX_PROMPT_BYTES": "262144",
    }
