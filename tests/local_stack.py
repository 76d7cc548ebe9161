"""Start the stack as a user does, with its public command, and look at what it does."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from local.aws import REGION, STACK
from local.servers import aws_endpoint
from local.settings import ROOT

KEY = {"Authorization": "Bearer local"}
CONCURRENCY, WORKERS = 5, 2
"""Model calls at a time of each worker of the shared stack, and its workers of each kind."""
# A first start builds if `make test` has not: the bound is below that of a test, 300 seconds.
START_SECONDS = 200
END_SECONDS = 60
GONE_SECONDS = 10
KEY_SECONDS = 30
"""How long a new key may be unknown: the authorizer reads the keys again after ten seconds at the earliest."""
SETTINGS_OF_A_USER = ("PORT", "CONCURRENCY", "WORKERS", "WORKER_TIMEOUT", "MODELS")
OF_AN_OUTER_MAKE = ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")


@dataclass(frozen=True, slots=True)
class Up:
    """A stack that says it is ready."""

    url: str
    process: subprocess.Popen[str]
    state: Path
    errors: Path

    def told(self) -> str:
        """Return what it said on standard error."""
        return self.errors.read_text()

    def aws(self, service: str) -> Any:  # noqa: ANN401  # a boto3 client, of any service
        """Return a client of the AWS that it runs on."""
        session = boto3.Session("test", "test", region_name=REGION)
        endpoint = aws_endpoint(urlsplit(self.url).port or 0)
        return session.client(service, endpoint_url=endpoint)  # type: ignore[call-overload]

    def resources(self) -> dict[str, str]:
        """Return what was deployed: the physical id of each resource of template.yaml."""
        resources = self.aws("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources}

    def calls(self) -> dict[str, int | dict[str, int]]:
        """Return the counters of the stand-in model."""
        url = f"{self.model()}/calls"
        calls: dict[str, int | dict[str, int]] = httpx.get(url, timeout=60, trust_env=False).json()
        return calls

    def model(self) -> str:
        """Return the address of the stand-in model."""
        found = re.search(r"The stand-in model listens at (http://\S+)/v1", self.told())
        assert found is not None
        return found[1]

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


def command_environment(state: Path, **settings: str) -> dict[str, str]:
    """Make the environment of a user who set nothing but these."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in (*SETTINGS_OF_A_USER, *OF_AN_OUTER_MAKE) and not name.startswith(("OPENAI_", "MODEL_", "AWS_"))
    }
    return {**inherited, "PORT": "0", "SLUICE_LOCAL_STATE": str(state), **settings}


UP = (sys.executable, "-m", "local", "up")


@contextmanager
def started(state: Path, command: Sequence[str] = UP, **settings: str) -> Iterator[Up]:
    """Start a stack and wait until it is ready; end it with the block, if it has not ended."""
    errors = state / "stderr.txt"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=command_environment(state, **settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        too_late = Timer(START_SECONDS, process.kill)
        too_late.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.fullmatch(r"Sluice is ready at (http://127\.0\.0\.1:\d+)\n", line):
                    too_late.cancel()
                    yield Up(found[1], process, state, errors)
                    break
            else:
                pytest.fail(f"The stack did not start:\n{errors.read_text()}")
        finally:
            too_late.cancel()
            process.terminate()


def processes_in(folder: Path) -> list[str]:
    """Name the processes whose working folder is in this one, as is that of every process of a stack."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and str((process / "cwd").readlink()).startswith(str(folder)):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended meanwhile, or is not ours to see
            continue
    return found


def eventually[T](look: Callable[[], T], *, until: Callable[[T], bool], seconds: float, every: float = 0.05) -> T:
    """Look again and again until it is as wanted, and return what was seen last."""
    end = time.monotonic() + seconds
    while not until(seen := look()) and time.monotonic() < end:
        time.sleep(every)
    return seen


def usable(stack: Up, key: str) -> str:
    """Return a new key as soon as the API accepts it."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        status = eventually(
            lambda: client.get("/usage").status_code,
            until=lambda status: status != httpx.codes.UNAUTHORIZED,
            seconds=KEY_SECONDS,
            every=0.5,
        )
    assert status == httpx.codes.OK
    return key
