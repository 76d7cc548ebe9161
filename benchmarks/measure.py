"""Run contenders in separate processes, in turn and over several rounds, and compare them."""

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.report import Bar
from benchmarks.servers import Servers
from local.settings import ROOT

OURS: Final = ROOT / ".venv/bin/python"
THEIRS: Final = ROOT / ".venv-bench/bin/python"
LIMIT_SECONDS: Final = 180
POLL_SECONDS: Final = 0.02
TOGETHER_SECONDS: Final = 1.0
"""Delay between all contenders being ready and their start; each must read the start time in between."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Name a module of benchmarks/contenders, the interpreter that has what it needs, and its own arguments."""

    title: str
    module: str
    python: Path = OURS
    arguments: tuple[str, ...] = ()
    prompts: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Say what each contender is given.

    Only the worker knows of `warm_up_milliseconds`: the time of the model in the warm-up, where that is another.
    """

    prompts: int
    in_flight: int
    warm_up: int
    milliseconds: int
    chunks: int = 0
    batch: int = 100
    warm_up_milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one run, in seconds; begin and end are times of the machine's clock.

    `calls` are the begin and the end of each call of the model, from the run's begin on, where the contender tells.
    """

    wall: float
    cpu: float
    prompts: int
    peak_kb: int | None
    ended_at: float
    began_at: float
    calls: Sequence[tuple[float, float]] = ()

    @property
    def cpu_ms(self) -> float:
        """Return the CPU time per prompt in milliseconds."""
        return 1000 * self.cpu / self.prompts

    def slot_seconds(self, slots: int) -> tuple[float, float, float, float]:
        """Say what a slot does on average: wait for its first call, call, wait between calls, and after its last.

        Together that is the run's time. Which call follows which does not matter to the sum of what lies between.
        """
        begins, ends = sorted(begin for begin, _ in self.calls), sorted(end for _, end in self.calls)
        return (
            sum(begins[:slots]) / slots,
            (sum(ends) - sum(begins)) / slots,
            (sum(begins[slots:]) - sum(ends[:-slots])) / slots,
            self.wall - sum(ends[-slots:]) / slots,
        )


@dataclass(slots=True)
class Spread:
    """The values of all rounds."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the median."""
        return statistics.median(self.values)

    def text(self, digits: int = 2) -> str:
        """Format the median with minimum and maximum, or the only value."""
        if len(self.values) == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({min(self.values):.{digits}f}-{max(self.values):.{digits}f})"

    def bar(self, name: str, *, is_ours: bool) -> Bar:
        """Draw it."""
        return Bar(name, self.median, min(self.values), max(self.values), is_ours)


def bars_of(spreads: Mapping[str, Spread], ours: str) -> list[Bar]:
    """Draw what is compared, by title."""
    return [spread.bar(title, is_ours=title == ours) for title, spread in spreads.items()]


def command(contender: Contender, task: Task, servers: Servers, out: Path) -> list[str]:
    """Return the command line of one run."""
    quick = task.warm_up_milliseconds
    return [
        *(str(contender.python), "-m", f"benchmarks.contenders.{contender.module}", *contender.arguments),
        *("--prompts", str(contender.prompts or task.prompts), "--in-flight", str(task.in_flight)),
        *("--warm-up", str(task.warm_up), "--batch", str(task.batch), "--out", str(out)),
        *("--redis-port", str(servers.redis_port), "--url", servers.model(task.milliseconds, task.chunks)),
        *([] if quick is None else ["--warm-up-url", servers.model(quick, task.chunks)]),
        *(["--streamed"] if task.chunks else []),
    ]


class Run:
    """A process of a contender; its output is discarded unless it fails."""

    def __init__(self, title: str, process: subprocess.Popen[str], folder: Path) -> None:
        self._title = title
        self._process = process
        self._folder = folder

    def wait_until_ready(self) -> None:
        """Wait until it has warmed up, if it starts together with others."""
        until = time.monotonic() + LIMIT_SECONDS
        while not (self._folder / "ready").exists():
            if self._process.poll() is not None or time.monotonic() > until:
                raise self._failure("is not ready")
            time.sleep(POLL_SECONDS)

    def begin_at(self, moment: float) -> None:
        """Send it the start time."""
        assert self._process.stdin  # noqa: S101  # a pipe was asked for
        self._process.stdin.write(f"{moment}\n")
        self._process.stdin.flush()

    def result(self) -> Result:
        """Wait for its end and return its result."""
        try:
            self._process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failure(f"runs for more than {LIMIT_SECONDS} s") from None
        out = self._folder / "result"
        # Some end as soon as the clock has stopped, however they can; the result is what counts.
        if not out.exists():
            raise self._failure("brings no result")
        return Result(**json.loads(out.read_text()))

    def _failure(self, what: str) -> RuntimeError:
        log = (self._folder / "log").read_text()[-2000:]
        return RuntimeError(f"{self._title} {what} (exit code {self._process.poll()}): {log}")


@contextmanager
def running(contender: Contender, task: Task, servers: Servers, *more: str) -> Iterator[Run]:
    """Start a contender; end it at the end of the block if it is still running."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(  # noqa: S603  # ours
                [*command(contender, task, servers, folder / "result"), *more],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield Run(contender.title, process, folder)
            finally:
                process.kill()


def run(contender: Contender, task: Task, servers: Servers) -> Result:
    """Run one contender and return its result."""
    servers.empty_redis()
    with running(contender, task, servers) as one:
        return one.result()


def run_together(contender: Contender, task: Task, servers: Servers, number: int) -> list[Result]:
    """Run several processes of a contender in parallel; all start at the same time, after their warm-up."""
    servers.empty_redis()
    with ExitStack() as block:
        runs = [block.enter_context(running(contender, task, servers, "--together")) for _ in range(number)]
        for one in runs:
            one.wait_until_ready()
        begin = time.time() + TOGETHER_SECONDS
        for one in runs:
            one.begin_at(begin)
        return [one.result() for one in runs]


def compare(contenders: Sequence[Contender], task: Task, servers: Servers, rounds: int) -> dict[str, list[Result]]:
    """Run all contenders in turn in each round, so that a disturbance affects neighbours equally."""
    results: dict[str, list[Result]] = {contender.title: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            results[contender.title].append(run(contender, task, servers))
    return results


def ratios(results: dict[str, list[Result]], title: str, to: str) -> Spread:
    """Compare two contenders by the rounds that both ran."""
    return Spread([one.cpu_ms / other.cpu_ms for one, other in zip(results[title], results[to], strict=False)])
