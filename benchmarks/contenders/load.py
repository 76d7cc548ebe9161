"""Say what a contender has to do, and measure it: the CPU of its own process, and the time."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROMPT = "Tell a joke about the economy, in three sentences."


@dataclass(frozen=True, slots=True)
class Load:
    """So many prompts, so many at a time, after so many to warm up, which may ask a model of their own."""

    prompts: int
    in_flight: int
    warm_up: int
    streamed: bool
    url: str
    warm_up_url: str
    redis_port: int
    batch: int
    out: Path
    together: bool

    @classmethod
    def from_arguments(cls) -> "Load":
        """Read the command line."""
        parser = argparse.ArgumentParser()
        for name in ("prompts", "in-flight", "warm-up", "redis-port", "batch"):
            parser.add_argument(f"--{name}", type=int, required=True)
        parser.add_argument("--streamed", action="store_true")
        parser.add_argument("--url", required=True)
        parser.add_argument("--warm-up-url", default="")
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--together", action="store_true")
        return cls(**vars(parser.parse_args()))

    @property
    def redis_url(self) -> str:
        """Return the address of Valkey."""
        return f"redis://127.0.0.1:{self.redis_port}/0"


def cpu_seconds() -> float:
    """Return what this process has used, all its threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_kb() -> int | None:
    """Return the most memory that this program has held; None where Linux does not say it.

    Not `ru_maxrss`: that outlives exec, and a small child of a large parent would be told its parent's.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


class Clock:
    """Measure between two moments, and write the result where the harness looks for it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._began = (0.0, 0.0)
        self._began_at = 0.0
        self._calls: list[tuple[float, float]] = []
        self.is_over = False
        self._done = 0

    def begin(self) -> None:
        """Begin to measure, with the others where there are some: say that we are ready, and read from when on."""
        if self._load.together:
            self._load.out.with_name("ready").touch()
            left = float(sys.stdin.readline()) - time.time()
            if left < 0:
                sys.exit(f"too late by {-left:.3f} s to begin with the others")
            time.sleep(left)
        self._calls.clear()
        self._began_at = time.time()
        self._began = (time.perf_counter(), cpu_seconds())

    def called(self, began: float) -> None:
        """Note that a call of the model is over which began then, by time.perf_counter."""
        self._calls.append((began, time.perf_counter()))

    def end(self) -> None:
        """Write what was measured since."""
        if not self.is_over:
            self.is_over = True
            first, cpu_first = self._began
            wall, cpu = time.perf_counter() - first, cpu_seconds() - cpu_first
            result = {"wall": wall, "cpu": cpu, "prompts": self._load.prompts, "peak_kb": peak_kb()}
            result |= {"began_at": self._began_at, "ended_at": time.time()}
            calls = [(began - first, ended - first) for began, ended in self._calls]
            self._load.out.write_text(json.dumps({**result, "calls": calls}))

    def tick(self, over: Callable[[], None]) -> None:
        """Count one answer of a queue that is drained: the clock runs from the end of the warm-up on."""
        self._done += 1
        if self._done == self._load.warm_up:
            self.begin()
        if self._done == self._load.warm_up + self._load.prompts:
            self.end()
            over()
