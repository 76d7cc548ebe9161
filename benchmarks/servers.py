"""Start the servers of the benchmarks: the stand-in and Valkey, each in its own process."""

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from redis import Redis

from local.settings import ROOT
from tests.valkey import running_valkey


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses of the stand-in and Valkey."""

    port: int
    redis_port: int

    @property
    def address(self) -> str:
        """Return the address of the stand-in, for AWS."""
        return f"http://127.0.0.1:{self.port}"

    def model(self, milliseconds: int, chunks: int = 0, faults: int = 0) -> str:
        """Return the base URL of a model with this behaviour."""
        return f"{self.address}/{milliseconds}/{chunks}/{faults}/v1"

    def counts(self) -> Counter[str]:
        """Return the stand-in's counters since its start."""
        with urllib.request.urlopen(f"{self.address}/counts") as answer:  # noqa: S310  # loopback
            return Counter(json.loads(answer.read()))

    def redis(self) -> Redis:
        """Return a client of Valkey."""
        return Redis(port=self.redis_port)

    def empty_redis(self) -> None:
        """Delete all records."""
        with self.redis() as client:
            client.flushall()


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Run both servers within the block."""
    with ExitStack() as running:
        redis = running.enter_context(running_valkey())
        stand_in = running.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.stand_in"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert stand_in.stdin and stand_in.stdout  # noqa: S101, PT018  # pipes were asked for
        running.callback(stand_in.stdin.close)
        yield Servers(int(stand_in.stdout.readline()), redis.port)
