"""Compare what a cold start imports: each built function, and the same function with its naive imports."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
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

_COMMON: Final = (
    "from aws_lambda_powertools import Logger, Metrics, Tracer\n"
    "from aws_lambda_powertools.event_handler import APIGatewayRestResolver\n"
    "import pydantic, redis.asyncio\n"
)
FUNCTIONS: Final = {
    "SubmitFunction": ("submit", "submit", 150, _COMMON + "import boto3"),
    "StatusFunction": ("status", "status", 150, _COMMON + "import boto3"),
    "AuthorizerFunction": (
        "authorizer",
        "authorizer",
        150,
        (
            "from aws_lambda_powertools import Logger, Metrics, Tracer\n"
            "from aws_lambda_powertools.utilities import parameters\nimport boto3, pydantic"
        ),
    ),
    "WorkerFunction": ("worker", "worker", 500, _COMMON + "import boto3, aioboto3, openai, aiohttp"),
}
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
        for _ in range(rounds):
            times["openai"].values.append(_import_ms(bare, "WorkerFunction", {}, OPENAI))
            for function, (name, _, _, naive) in FUNCTIONS.items():
                handler = f"import functions.{name}.handler"
                times[function].values.append(_import_ms(built, function, variables[function], handler))
                times[f"{function} naive"].values.append(_import_ms(bare, "WorkerFunction", {}, naive))
        answers = asyncio.run(_requests(built, variables, Path(folder)))
    openai = times["openai"].median
    rows = []
    for function, (name, _, goal, _) in FUNCTIONS.items():
        ours, naive_ms = times[function], times[f"{function} naive"].median
        scaled = ours.median * SCALE_MS / openai
        rows.append(
            (
                name,
                ours.text(0),
                f"{naive_ms:.0f}",
                f"{ours.median / naive_ms:.2f}",
                f"{scaled:.0f}",
                *answers[function],
            )
        )
        measured = f"{scaled:.0f} ms, {ours.median / openai:.2f} x `import openai`"
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
            f"CPU of importing the built handler with its bytecode, {rounds} fresh interpreters each, beside the same "
            "function with everything it could use imported at the top and no bytecode, as `sam build` leaves it. The "
            f"goals are for a machine on which `import openai` without bytecode takes {SCALE_MS} ms; here it takes "
            f"{openai:.0f} ms. The last two columns are wall time under AWS's runtime emulator, from the start of the "
            "process."
        ),
        table(head, rows),
    ]
    return section


def _without_bytecode(build: Path, to: Path) -> Path:
    for part in ("WorkerFunction", "CommonLayer"):
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
        "OPENAI_BASE_URL": servers.model(1),
        "AWS_ENDPOINT_URL": servers.address,
    }
    return {name: {key: str(value) for key, value in stack.variables(name).items()} | made for name in FUNCTIONS}


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
    for function, (name, event, _, _) in FUNCTIONS.items():
        began = time.perf_counter()
        async with running(
            artefacts, function, f"functions.{name}.handler.lambda_handler", variables[function], folder
        ) as emulator:
            await emulator.invoke(read_event(event))
            first = time.perf_counter()
            await emulator.invoke(read_event(event))
            answers[function] = (f"{1000 * (first - began):.0f}", f"{1000 * (time.perf_counter() - first):.0f}")
    return answers
