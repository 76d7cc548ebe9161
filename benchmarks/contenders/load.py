"""Say what a contender has to do, and measure it: the CPU of its own process, and the time."""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROMPT = "Tell a joke about the economy, in three sentences."


@dataclass(frozen=True, slots=True)
class Load:
    """So many prompts, so many at a time, after so many to warm up."""

    prompts: int
    in_flight: int
    warm_up: int
    streamed: bool
    url: str
    redis_port: int
    batch: int
    out: Path
    start_at: float

    @classmethod
    def from_arguments(cls) -> "Load":
        """Read the command line."""
        parser = argparse.ArgumentParser()
        for name in ("prompts", "in-flight", "warm-up", "redis-port", "batch"):
            parser.add_argument(f"--{name}", type=int, required=True)
        parser.add_argument("--streamed", action="store_true")
        parser.add_argument("--url", required=True)
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--start-at", type=float, default=0.0)
        return cls(**vars(parser.parse_args()))

    @property
    def redis_url(self) -> str:
        """Return the address of Valkey."""
        return f"redis://127.0.0.1:{self.redis_port}/0"


def cpu_seconds() -> float:
    """Return what this process has used, all its threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Clock:
    """Measure between two moments, and write the result where the harness looks for it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._began = (0.0, 0.0)
        self._began_at = 0.0
        self.is_over = False
        self._done = 0

    def begin(self) -> None:
        """Begin to measure."""
        time.sleep(max(0.0, self._load.start_at - time.time()))
        self._began_at = time.time()
        self._began = (time.perf_counter(), cpu_seconds())

    def end(self) -> None:
        """Write what was measured since."""
        if not self.is_over:
            self.is_over = True
            wall, cpu = time.perf_counter() - self._began[0], cpu_seconds() - self._began[1]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            result = {"wall": wall, "cpu": cpu, "prompts": self._load.prompts, "peak_kb": peak}
            result |= {"began_at": self._began_at, "ended_at": time.time()}
            self._load.out.write_text(json.dumps(result))

    def tick(self, over: Callable[[], None]) -> None:
        """Count one answer of a queue that is drained: the clock runs from the end of the warm-up on."""
        self._done += 1
        if self._done == self._load.warm_up:
            self.begin()
        if self._done == self._load.warm_up + self._load.prompts:
            self.end()
            over()
