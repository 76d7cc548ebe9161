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
"""What `import openai` without bytecode took on the machine for which the goals were set."""

TURNS: Final = 3
"""How often a round imports what ships and has a goal; naive imports take longer and have none: once."""

MOST_PARTS: Final = 3
"""How many parts of an import are named where its goal is not met."""

type Imports = defaultdict[tuple[str, str], Spread]
"""What importing took on the goals' scale, by the way's title and the function's name."""


def measure(servers: Servers, rounds: int) -> Section:
    """Measure imports in fresh interpreters, and init and requests under the runtime emulator."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        # A copy of our own: another process may build anew at any time.
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
            "What Lambda does before a function's first request is mostly to import it, so the goals are for the CPU "
            "of importing the built handler in a fresh interpreter, traced as on AWS, clients made. They were set for "
            f"a machine on which `import openai` without bytecode takes {SCALE_MS} ms. In this run that took "
            f"{sdk.text(0)} ms. So each turn imports the SDK once and then each function once, and each function's "
            f"time is divided by the SDK's of its turn and multiplied by {SCALE_MS}. Shown are the medians with the "
            f"least and the most, in ms on that scale: of {TURNS * rounds} turns for what ships, and of {rounds} of "
            "them for naive imports. The workflow worker, which has no goal, was imported once each way."
        ),
        (
            "Naive is the same handler behind a module that first imports, at the top, all that a function of its kind "
            "is mostly written with: Powertools' logger, metrics, tracer and event handler, boto3, pydantic, redis, "
            "and for the workers aioboto3, aiohttp, the SDK and LangChain. The last column is that without the "
            "bytecode, which `sam build` does not make and `make build` adds."
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
            "Where what ships goes, in percent of its import, by one run of Python's `-X importtime`. A module that is "
            "imported by many counts where it belongs, not where it was first asked for; botocore and urllib3 count "
            "as boto3, and the making of clients as our own."
        ),
        table(("", *PARTS, "others"), _part_rows(parts)),
        (
            "Each function under AWS's runtime emulator, untraced, in wall ms of this machine, not scaled, as the "
            f"emulator's log tells them; starts of each: {rounds}. Init is from the start of the interpreter until the "
            "function asks for its first event. What is imported only where it is first used is in the first request, "
            "so the two count together. Both ways have their bytecode and differ in imports only. Each start is given "
            "two requests, and each answer is checked: what submit has accepted, status is asked for and the workers "
            "work on."
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
