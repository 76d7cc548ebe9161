"""Measure cold starts of the built functions: import, init and first request, and the same with naive imports."""

import asyncio
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.imports import FUNCTIONS, PARTS, Function, Way, Ways, import_ms, sdk_ms, shares, variables_of
from benchmarks.measure import Spread
from benchmarks.report import Bar, Goal, Section, bars, table
from benchmarks.servers import Servers
from benchmarks.starts import FIRST, INIT, SECOND, Starter, Starts
from local.settings import ROOT

SCALE_MS: Final = 860
"""Time of `import openai` without bytecode on the machine for which the goals were set."""

TURNS: Final = 3
"""Imports per round of each deployed function with a goal. Naive imports take longer and have none: one per round."""

MOST_PARTS: Final = 3
"""Number of parts of an import that are named if its goal is not met."""

type Imports = defaultdict[tuple[str, str], Spread]
"""Import times on the goals' scale, by the way's title and the function's name."""


def measure(servers: Servers, rounds: int) -> Section:
    """Measure imports in fresh interpreters, and init and requests under the runtime emulator."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        # A separate copy: another process may run a build at any time.
        subprocess.run([sys.executable, "-m", "local.build", "--to", folder / "built"], cwd=ROOT, check=True)  # noqa: S603  # ours
        ways = Ways.of(folder / "built", folder)
        variables = variables_of(servers)
        sdk, imports = _imports(ways, variables, rounds)
        parts = {function.name: shares(ways.ours, function, variables[function.name]) for function in FUNCTIONS}
        starter = Starter(servers, variables)
        for _ in range(rounds):
            for way in (ways.ours, ways.naive):
                asyncio.run(starter.chain(way))
    section = Section("Cold starts")
    for function in FUNCTIONS:
        if function.goal_ms is not None:
            taken = imports[ways.ours.title, function.name]
            section.goals.append(_goal(function, function.goal_ms, taken, parts[function.name]))
    section.paragraphs += [
        (
            "Most of a cold start is the import of the handler. So the goals limit the CPU time of importing the built "
            "handler in a fresh interpreter, with tracing as on AWS and with the creation of clients. They were set on "
            f"a machine on which `import openai` without bytecode takes {SCALE_MS} ms. In this run it took "
            f"{sdk.text(0)} ms. Each turn therefore imports the SDK once and then each function once. Each function's "
            f"time is divided by the SDK's time of the same turn and multiplied by {SCALE_MS}. The table shows the "
            f"medians, minimum and maximum in ms on that scale: of {TURNS * rounds} turns for the deployed functions, "
            f"and of {rounds} turns for naive imports. The workflow worker has no goal and was imported once each way."
        ),
        (
            "The naive variant is the same handler behind a module that first imports the usual packages of such a "
            "function: Powertools' logger, metrics, tracer and event handler, boto3, pydantic, redis, and for the "
            "workers aioboto3, aiohttp, the SDK and LangChain. The last column is the naive variant without bytecode: "
            "`sam build` does not compile it, `make build` does."
        ),
        table(("import, ms", "goal", *(way.title for way in ways)), _import_rows(ways, imports)),
        bars(
            "import",
            "CPU of an import on the goals' scale, ms: the goal is 150 (dashed), the worker's 500",
            _bars(ways, imports),
            goal=min(function.goal_ms for function in FUNCTIONS if function.goal_ms is not None),
            digits=0,
        ),
        (
            "The parts of each deployed import in percent, by one run of Python's `-X importtime`. Each module counts "
            "for its own package, not for its first importer. botocore and urllib3 count as boto3, and the creation of "
            "clients counts as our own."
        ),
        table(("", *PARTS, "others"), _part_rows(parts)),
        (
            "Each function under AWS's runtime emulator, without tracing, in wall ms of this machine, not scaled, from "
            f"the emulator's log; starts of each: {rounds}. Init lasts from the start of the interpreter until the "
            "function requests its first event. Lazy imports are part of the first request, so compare the sum of "
            "both. Both variants have bytecode and differ only in imports. Each start receives two requests, and each "
            "response is checked: status reads the tasks that submit has accepted, and the workers run them."
        ),
        table(
            ("wall ms", INIT, "naive", FIRST, "naive", "together", "naive", SECOND),
            _start_rows(ways, starter.starts),
        ),
    ]
    return section


def _imports(ways: Ways, variables: dict[str, dict[str, str]], rounds: int) -> tuple[Spread, Imports]:
    """Import in turns, each with an import of the SDK of its own, so that a slower minute slows both."""
    sdk = Spread()
    imports: Imports = defaultdict(Spread)
    for turn in range(TURNS * rounds):
        sdk.values.append(sdk_ms(ways, variables["WorkerFunction"]))
        for way in ways if turn % TURNS == 0 else [ways.ours]:
            for function in FUNCTIONS:
                if function.goal_ms is not None or turn == 0:
                    taken = import_ms(way, function, variables[function.name])
                    imports[way.title, function.name].values.append(SCALE_MS * taken / sdk.values[-1])
    return sdk, imports


def _goal(function: Function, goal_ms: int, taken: Spread, parts: Counter[str]) -> Goal:
    measured = f"{taken.text(0)} ms, {taken.median / SCALE_MS:.2f} x `import openai`"
    (most, share), *others = parts.most_common(MOST_PARTS)
    why = ", ".join([f"{most} is {share} % of it", *(f"{part} {share} %" for part, share in others)])
    return Goal(f"import of {function.folder}", f"≤ {goal_ms} ms", measured, taken.median <= goal_ms, why)


def _import_rows(ways: Ways, imports: Imports) -> list[tuple[object, ...]]:
    return [
        (function.folder, function.goal_ms or "", *(imports[way.title, function.name].text(0) for way in ways))
        for function in FUNCTIONS
    ]


def _bars(ways: Ways, imports: Imports) -> list[Bar]:
    return [
        imports[way.title, function.name].bar(f"{function.folder}, {way.title}", is_ours=way is ways.ours)
        for function in FUNCTIONS
        if function.goal_ms is not None
        for way in ways
    ]


def _part_rows(parts: dict[str, Counter[str]]) -> list[tuple[object, ...]]:
    return [
        (function.folder, *(own[part] for part in PARTS), 100 - sum(own[part] for part in PARTS))
        for function in FUNCTIONS
        for own in (parts[function.name],)
    ]


def _start_rows(ways: Ways, starts: Starts) -> list[tuple[object, ...]]:
    return [
        (
            function.folder,
            *(starts[way.title, function.name, INIT].text(0) for way in (ways.ours, ways.naive)),
            *(starts[way.title, function.name, FIRST].text(0) for way in (ways.ours, ways.naive)),
            *(_together(starts, way, function).text(0) for way in (ways.ours, ways.naive)),
            starts[ways.ours.title, function.name, SECOND].text(0),
        )
        for function in FUNCTIONS
    ]


def _together(starts: Starts, way: Way, function: Function) -> Spread:
    init, first = (starts[way.title, function.name, phase].values for phase in (INIT, FIRST))
    return Spread([sum(both) for both in zip(init, first, strict=True)])
