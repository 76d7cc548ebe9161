"""Run a built function as Lambda does: its folder and the layer are on the path, and the sources are not.

AWS's runtime emulator comes with the SAM CLI, the runtime's client from PyPI; together they need no container.
"""

import asyncio
import json
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any

import httpx

from local.processes import Child
from local.settings import ROOT, architecture_of_this_machine

ARCHITECTURE = architecture_of_this_machine()
EMULATOR = f".venv-sam/lib/python3.13/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}"
RUNTIME = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What the runtime itself consists of, without its SDK: the functions ship the one that they were tested with."""

# -S and -s: without the packages that are installed for the interpreter, which Lambda has not.
PYTHON = (str(Path(sys._base_executable).resolve()), "-S", "-s")  # type: ignore[attr-defined]  # no public name for it

START_SECONDS = 30
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Know where the built functions and the layer are, and a folder with the runtime's own packages."""

    build: Path
    runtime: Path

    def path_of(self, function: str) -> list[Path]:
        """Return what a function can import from, besides the standard library."""
        return [self.build / function, self.build / "CommonLayer" / "python", self.runtime]

    def environment(self, function: str, variables: Mapping[str, str]) -> dict[str, str]:
        """Return all that the function's process finds in its environment."""
        return {
            **variables,
            "PYTHONPATH": os.pathsep.join(map(str, self.path_of(function))),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "LAMBDA_TASK_ROOT": str(self.build / function),
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            # As `sam local` says it: there is no X-Ray daemon to send traces to.
            "AWS_SAM_LOCAL": "true",
        }


def link_runtime(folder: Path) -> None:
    """Fill a folder with links to the runtime's own packages, and to nothing else that is installed here."""
    for distribution in RUNTIME:
        for file in files(distribution) or []:
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)


@dataclass(frozen=True, slots=True)
class Emulator:
    """A function that waits for events."""

    client: httpx.AsyncClient
    log: Path
    """What the function prints, and what the emulator tells of its init and of each invocation."""

    async def invoke(self, event: object) -> Any:  # noqa: ANN401 - what a function answers is its own
        """Send an event and return the answer; an error is an object with errorMessage."""
        answer = await self.client.post("/2015-03-31/functions/function/invocations", json=event)
        return answer.json()


@asynccontextmanager
async def running(
    artefacts: Artefacts, function: str, handler: str, variables: Mapping[str, str], folder: Path
) -> AsyncIterator[Emulator]:
    """Run a built function for the length of the block."""
    listen, api = _free_ports()
    log = folder / f"{function}.log"
    command = [
        *(str(ROOT / EMULATOR), "--log-level", "info"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{listen}", "--runtime-api-address", f"127.0.0.1:{api}"),
        *(*PYTHON, "-m", "awslambdaric", handler),
    ]
    environment = artefacts.environment(function, variables)
    client = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{listen}",
        timeout=60,
        trust_env=False,
        # An empty one: nothing here speaks TLS, and reading all authorities takes a while.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    child = await Child.start(function, command, env=environment, log=log, cwd=artefacts.build / function)
    try:
        async with client:
            await _listens(listen)
            yield Emulator(client, log)
    finally:
        await child.stop()


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


async def _listens(port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                writer.close()
                return


def read_event(name: str) -> Any:  # noqa: ANN401 - events are JSON
    """Return one of tests/events."""
    return json.loads((ROOT / "tests" / "events" / f"{name}.json").read_text())
