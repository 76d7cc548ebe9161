"""Run contenders, each in a process of its own, one after the other and round after round, and compare them."""

import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.servers import Servers
from local.settings import ROOT

OURS: Final = ROOT / ".venv/bin/python"
THEIRS: Final = ROOT / ".venv-bench/bin/python"
LIMIT_SECONDS: Final = 180


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
    """Say what each contender is given."""

    prompts: int
    in_flight: int
    warm_up: int
    milliseconds: int
    chunks: int = 0
    batch: int = 100


@dataclass(frozen=True, slots=True)
class Result:
    """Hold what one run took, in seconds; begin and end are those of the machine's clock."""

    wall: float
    cpu: float
    prompts: int
    peak_kb: int
    ended_at: float
    began_at: float

    @property
    def cpu_ms(self) -> float:
        """Return the CPU of one prompt in milliseconds."""
        return 1000 * self.cpu / self.prompts


@dataclass(slots=True)
class Spread:
    """Hold the values of all rounds."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the middle one."""
        return statistics.median(self.values)

    def text(self, digits: int = 2) -> str:
        """Write the median with the least and the most."""
        return f"{self.median:.{digits}f} ({min(self.values):.{digits}f}-{max(self.values):.{digits}f})"


def command(contender: Contender, task: Task, servers: Servers, out: Path) -> list[str]:
    """Return the command line of one run."""
    return [
        *(str(contender.python), "-m", f"benchmarks.contenders.{contender.module}", *contender.arguments),
        *("--prompts", str(contender.prompts or task.prompts), "--in-flight", str(task.in_flight)),
        *("--warm-up", str(task.warm_up), "--batch", str(task.batch), "--out", str(out)),
        *("--redis-port", str(servers.redis_port), "--url", servers.model(task.milliseconds, task.chunks)),
        *(["--streamed"] if task.chunks else []),
    ]


def run(contender: Contender, task: Task, servers: Servers) -> Result:
    """Run one contender and return what it took; its output is thrown away, unless it fails."""
    servers.empty_redis()
    with TemporaryDirectory() as folder:
        out = Path(folder, "result")
        with Path(folder, "log").open("w+") as log:
            # Some end as soon as the clock has stopped, however they can; the result is what counts.
            subprocess.run(  # noqa: S603  # ours
                command(contender, task, servers, out),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
                check=False,
                timeout=LIMIT_SECONDS,
            )
            if not out.exists():
                log.seek(0)
                raise RuntimeError(f"{contender.title}: {log.read()[-2000:]}")
        return Result(**json.loads(out.read_text()))


def run_together(contender: Contender, task: Task, servers: Servers, number: int) -> list[Result]:
    """Run so many of one contender side by side; all begin at one moment."""
    start_at = time.time() + 3 + number
    with TemporaryDirectory() as folder:
        outs = [Path(folder, str(place)) for place in range(number)]
        running = [
            subprocess.Popen(  # noqa: S603  # ours
                [*command(contender, task, servers, out), "--start-at", str(start_at)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for out in outs
        ]
        for process in running:
            process.wait(LIMIT_SECONDS)
        return [Result(**json.loads(out.read_text())) for out in outs]


def compare(contenders: Sequence[Contender], task: Task, servers: Servers, rounds: int) -> dict[str, list[Result]]:
    """Run all contenders in turn, as many times as there are rounds: what disturbs one disturbs its neighbours too."""
    results: dict[str, list[Result]] = {contender.title: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            results[contender.title].append(run(contender, task, servers))
    return results


def ratios(results: dict[str, list[Result]], title: str, to: str) -> Spread:
    """Compare two contenders round by round, in those that both ran."""
    return Spread([one.cpu_ms / other.cpu_ms for one, other in zip(results[title], results[to], strict=False)])
