"""Import built functions in fresh interpreters: as they ship, and with all that they use imported at the top."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import stdlib_module_names
from typing import Final, NamedTuple

from benchmarks.servers import Servers
from tests.artefacts.emulator import PYTHON, Artefacts, link_runtime
from tests.infra.stack import Stack, read_template

_COMMON: Final = (
    "from aws_lambda_powertools import Logger, Metrics, Tracer",
    "from aws_lambda_powertools.event_handler import APIGatewayRestResolver",
    "import boto3, pydantic, redis.asyncio",
)
_CALLING: Final = (*_COMMON, "import aioboto3, aiohttp, openai")
_LAYER: Final = "CommonLayer"
_RICHEST: Final = "WorkflowFunction"
"""Whose artefact has what the naive imports need beyond the function's own."""


@dataclass(frozen=True, slots=True)
class Function:
    """Name a function, its folder, what its import may take, and the imports it does without or puts off."""

    name: str
    folder: str
    goal_ms: int | None
    naive: tuple[str, ...]


FUNCTIONS: Final = (
    Function("SubmitFunction", "submit", 150, _COMMON),
    Function("StatusFunction", "status", 150, _COMMON),
    Function("OpenaiFunction", "openai", 150, _COMMON),
    Function(
        "AuthorizerFunction",
        "authorizer",
        150,
        (
            "from aws_lambda_powertools import Logger, Metrics, Tracer",
            "from aws_lambda_powertools.utilities import parameters",
            "import boto3, pydantic",
        ),
    ),
    Function("WorkerFunction", "worker", 500, _CALLING),
    Function("WorkflowFunction", "workflow", None, (*_CALLING, "import langchain_openai")),
)


@dataclass(frozen=True, slots=True)
class Way:
    """Say how the functions are built, and which of their modules has the handler."""

    title: str
    artefacts: Artefacts
    module: str


class Ways(NamedTuple):
    """Hold the three that are compared, each a step from the next."""

    ours: Way
    naive: Way
    bare: Way

    @classmethod
    def of(cls, built: Path, folder: Path) -> "Ways":
        """Fill a folder with links to what is built."""
        runtime = folder / "runtime"
        runtime.mkdir()
        link_runtime(runtime)
        bare = folder / "bare"
        for part in (_LAYER, *(function.name for function in FUNCTIONS)):
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(built / part, bare / part, ignore=without, copy_function=os.symlink)
        return cls(
            Way("as it ships", Artefacts(built, runtime), "handler"),
            Way("naive", Artefacts(_naive(built, folder / "naive"), runtime), "naive"),
            Way("naive, no bytecode", Artefacts(_naive(bare, folder / "naive-bare"), runtime), "naive"),
        )


def _naive(build: Path, to: Path) -> Path:
    """Make folders in which each function has a second handler: one that first imports all, and then the first."""
    to.mkdir()
    (to / _LAYER).symlink_to(build / _LAYER)
    for function in FUNCTIONS:
        folder = to / function.name
        shutil.copytree(build / function.name / "functions", folder / "functions")
        for entry in (*(build / function.name).iterdir(), *(build / _RICHEST).iterdir()):
            if not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
        lines = (*function.naive, f"from functions.{function.folder}.handler import lambda_handler")
        (folder / "functions" / function.folder / "naive.py").write_text("\n".join(lines) + "\n")
    return to


def variables_of(servers: Servers) -> dict[str, dict[str, str]]:
    """Return the functions' own environments: the template's, with this machine's servers."""
    stack = Stack.of(read_template())
    made = {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(servers.redis_port),
        "REDIS_TLS": "false",
        "REDIS_CLUSTER": "false",
        "REDIS_IAM": "false",
        "REDIS_USERNAME": "",
        "QUEUE_URL": f"{servers.address}/1/tasks",
        "WORKFLOW_QUEUE_URL": f"{servers.address}/1/workflows",
        "WEBHOOK_QUEUE_URL": f"{servers.address}/1/webhooks",
        "OPENAI_BASE_URL": servers.model(1, chunks=1),
        "AWS_ENDPOINT_URL": servers.address,
        # In Lambda nothing can be written beside the code.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    names = [function.name for function in FUNCTIONS]
    return {name: {key: str(value) for key, value in stack.variables(name).items()} | made for name in names}


_TIMED: Final = """
import os, sys, time
began = time.process_time()
{program}
print(1000 * (time.process_time() - began), file=sys.__stdout__, flush=True)
os._exit(0)
"""


def sdk_ms(ways: Ways, variables: Mapping[str, str]) -> float:
    """Return the CPU of `import openai` without bytecode."""
    return float(_run(ways.bare, _RICHEST, variables, "-c", _TIMED.format(program="import openai")).stdout)


def import_ms(way: Way, function: Function, variables: Mapping[str, str]) -> float:
    """Return the CPU of importing a function's handler, which makes all that it needs before its first event."""
    program = _TIMED.format(program=f"import functions.{function.folder}.{way.module}")
    return float(_run(way, function.name, variables, "-c", program).stdout.split()[-1])


_STANDARD: Final = "the standard library"
_OURS: Final = "our own"
_WHOSE: Final = {
    "common": _OURS,
    "functions": _OURS,
    "botocore": "boto3",
    "urllib3": "boto3",
    "hiredis": "redis",
    "pydantic_core": "pydantic",
    "aws_lambda_powertools": "Powertools",
}
"""Who has asked for a package, where that is another."""

PARTS: Final = (_STANDARD, _OURS, "boto3", "redis", "Powertools", "openai", "pydantic", "aiohttp")


def shares(way: Way, function: Function, variables: Mapping[str, str]) -> Counter[str]:
    """Say how many percent of a function's import goes into whose modules, by one run of Python's own `importtime`."""
    program = f"import functions.{function.folder}.{way.module}"
    microseconds: Counter[str] = Counter()
    for line in _run(way, function.name, variables, "-X", "importtime", "-c", program).stderr.splitlines():
        own, _, module = line.removeprefix("import time:").partition("|")
        if own.strip().isdigit():
            package = module.rpartition("|")[2].strip().partition(".")[0]
            whose = _STANDARD if package in stdlib_module_names else _WHOSE.get(package, package)
            microseconds[whose] += int(own)
    return Counter({whose: round(100 * one / microseconds.total()) for whose, one in microseconds.items()})


def _run(way: Way, function: str, variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    # Not as `sam local` has it, but as Lambda: traced, so X-Ray's SDK is imported too.
    environment = way.artefacts.environment(function, variables) | {"AWS_SAM_LOCAL": ""}
    done = subprocess.run(  # noqa: S603  # ours
        [*PYTHON, *arguments],
        cwd=way.artefacts.build / function,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{function}, {way.title}: {done.stderr[-2000:]}")
    return done
