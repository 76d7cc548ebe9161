"""Compare what a cold start imports: each built function, and the same function with its naive imports."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.measure import Spread
from benchmarks.report import Goal, Section, table
from benchmarks.servers import Servers
from local.settings import ROOT, build_folder
from tests.artefacts.emulator import ARCHITECTURE, PYTHON, Artefacts, link_runtime, read_event, running
from tests.infra.stack import Stack, read_template

SCALE_MS: Final = 860
"""What `import openai` without bytecode took on the machine for which the goals were set."""

TIMES: Final = 2
"""How many imports of the SDK are measured in a round, and of each function at least as many."""

LIGHT: Final = 3
"""How many imports of a function without the SDK are measured for one of the SDK."""

_COMMON: Final = (
    "from aws_lambda_powertools import Logger, Metrics, Tracer\n"
    "from aws_lambda_powertools.event_handler import APIGatewayRestResolver\n"
    "import boto3, pydantic, redis.asyncio\n"
)
_CALLING: Final = _COMMON + "import aioboto3, aiohttp, openai\n"


@dataclass(frozen=True, slots=True)
class Function:
    """Name a function, its folder and event, what its import may take, and the imports it could do without."""

    name: str
    folder: str
    goal_ms: int | None
    naive: str
    of: str = "WorkerFunction"
    """Whose artefact has all that the naive imports need."""

    @property
    def repeats(self) -> int:
        """How often its import is measured for one of the SDK: the shorter it is, the more a neighbour spoils."""
        return 1 if self.folder in {"worker", "workflow"} else LIGHT


FUNCTIONS: Final = (
    Function("SubmitFunction", "submit", 150, _COMMON),
    Function("StatusFunction", "status", 150, _COMMON),
    Function(
        "AuthorizerFunction",
        "authorizer",
        150,
        (
            "from aws_lambda_powertools import Logger, Metrics, Tracer\n"
            "from aws_lambda_powertools.utilities import parameters\nimport boto3, pydantic"
        ),
    ),
    Function("WorkerFunction", "worker", 500, _CALLING),
    Function("WorkflowFunction", "workflow", None, f"{_CALLING}import langchain_openai", of="WorkflowFunction"),
)
OPENAI: Final = "import openai"
WHY: Final = {
    "submit": "boto3 and Redis's client are half of it, and its first request needs both",
    "status": "Redis's client is in it, and its first request needs that",
    "authorizer": "boto3, which Powertools' parameters import, is half of it",
    "worker": "the SDK, with its types, is two thirds of it",
}
"""What there is to say where the goal is not met; `python -X importtime` says it."""

_TIMED: Final = """
import os, sys, time
wall, cpu = time.perf_counter(), time.process_time()
{program}
print(1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall), file=sys.__stdout__, flush=True)
os._exit(0)
"""


def measure(servers: Servers, rounds: int) -> Section:
    """Measure imports, and the first and second request under the runtime emulator."""
    subprocess.run([sys.executable, "-m", "local.build"], cwd=ROOT, check=True)
    section = Section("Cold starts")
    with TemporaryDirectory() as folder:
        runtime = Path(folder, "runtime")
        runtime.mkdir()
        link_runtime(runtime)
        built = Artefacts(build_folder(ARCHITECTURE) / "sam", runtime)
        bare = Artefacts(_without_bytecode(built.build, Path(folder, "bare")), runtime)
        variables = _variables(servers)
        times: defaultdict[str, Spread] = defaultdict(Spread)
        naive = {function.name: _import_ms(bare, function.of, {}, function.naive) for function in FUNCTIONS}
        for _ in range(TIMES * rounds):
            times["openai"].values.append(_import_ms(bare, "WorkerFunction", {}, OPENAI))
            for function in FUNCTIONS:
                handler = f"import functions.{function.folder}.handler"
                for _ in range(function.repeats):
                    times[function.name].values.append(
                        _import_ms(built, function.name, variables[function.name], handler)
                    )
        answers = asyncio.run(_requests(built, variables, Path(folder)))
    openai = min(times["openai"].values)
    rows = []
    for function in FUNCTIONS:
        name, goal = function.folder, function.goal_ms
        ours, naive_ms = times[function.name], naive[function.name]
        least = min(ours.values)
        scaled = least * SCALE_MS / openai
        rows.append(
            (
                name,
                f"{least:.0f} ({ours.median:.0f})",
                f"{naive_ms:.0f}",
                f"{least / naive_ms:.2f}",
                f"{scaled:.0f}",
                *answers[function.name],
            )
        )
        if goal is not None:
            measured = f"{scaled:.0f} ms, {least / openai:.2f} x `import openai`"
            section.goals.append(Goal(f"import of {name}", f"≤ {goal} ms", measured, scaled <= goal, WHY[name]))
    head = (
        "",
        "import, CPU ms",
        "naive",
        "ratio",
        "on the goals' scale",
        "start to first answer, ms",
        "second answer, ms",
    )
    section.paragraphs += [
        (
            f"CPU of importing the built handler with its bytecode: the least of {TIMES * rounds} fresh interpreters, "
            f"{LIGHT * TIMES * rounds} of the light functions, for whatever else runs can only add to it, and the "
            "median in brackets. Beside it, once, the same function with everything it could use imported at the top "
            "and no bytecode, as `sam build` leaves it. The "
            f"goals are for a machine on which `import openai` without bytecode takes {SCALE_MS} ms; here it takes "
            f"{openai:.0f} ms. The last two columns are wall time under AWS's runtime emulator, from the start of the "
            "process."
        ),
        table(head, rows),
    ]
    return section


def _without_bytecode(build: Path, to: Path) -> Path:
    for part in ("CommonLayer", *{function.of for function in FUNCTIONS}):
        shutil.copytree(build / part, to / part, ignore=shutil.ignore_patterns("__pycache__"), copy_function=os.link)
    return to


def _variables(servers: Servers) -> dict[str, dict[str, str]]:
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
    }
    names = [function.name for function in FUNCTIONS]
    return {name: {key: str(value) for key, value in stack.variables(name).items()} | made for name in names}


def _import_ms(artefacts: Artefacts, function: str, variables: dict[str, str], program: str) -> float:
    environment = artefacts.environment(function, variables) | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603  # ours
        [*PYTHON, "-c", _TIMED.format(program=program)],
        cwd=artefacts.build / function,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-2])


async def _requests(
    artefacts: Artefacts, variables: dict[str, dict[str, str]], folder: Path
) -> dict[str, tuple[str, str]]:
    answers = {}
    for function in FUNCTIONS:
        name, event = function.name, read_event(function.folder)
        handler = f"functions.{function.folder}.handler.lambda_handler"
        began = time.perf_counter()
        async with running(artefacts, name, handler, variables[name], folder) as emulator:
            await emulator.invoke(event)
            first = time.perf_counter()
            await emulator.invoke(event)
            answers[name] = (f"{1000 * (first - began):.0f}", f"{1000 * (time.perf_counter() - first):.0f}")
    return answers
