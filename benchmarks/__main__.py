"""Run all or the named benchmarks; write docs/benchmarks.md if all were run."""

import argparse
import os
import platform
import time
from typing import Final

from benchmarks import api, calls, cold, cost, day, efficiency, makespan
from benchmarks.report import Section, summary, write
from benchmarks.servers import Servers, running_servers
from local.settings import ROOT

PAGE: Final = ROOT / "docs" / "benchmarks.md"
NAMES: Final = ("efficiency", "makespan", "cold", "calls", "api")
"""`calls` includes the cost and the simulation."""


def main() -> None:
    """Run the benchmarks, print the goals and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(NAMES)}; without, all")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    # Always in this order: `api` leaves messages in the queue that `calls` counts.
    names = [name for name in NAMES if name in (arguments.names or NAMES)]
    began = time.monotonic()
    sections: list[Section] = []
    with running_servers() as servers:
        for name in names:
            print(f"{time.monotonic() - began:4.0f} s  {name} …", flush=True)
            sections += _measure(name, servers, arguments.rounds)
    print(summary([goal for section in sections for goal in section.goals]))
    if len(names) < len(NAMES):
        print("\n\n".join(section.text() for section in sections))
        return
    write(PAGE, sections, _introduction(arguments.rounds, time.monotonic() - began))
    print(f"\nWritten to {PAGE.relative_to(ROOT)}")


def _measure(name: str, servers: Servers, rounds: int) -> list[Section]:
    match name:
        case "efficiency":
            return [efficiency.measure(servers, rounds)]
        case "makespan":
            return [makespan.measure(servers, rounds)]
        case "cold":
            return [cold.measure(servers, rounds)]
        case "api":
            return [api.measure(servers, rounds)]
        case _:
            section, counts = calls.measure(servers)
            return [section, cost.measure(counts), day.measure(servers, counts)]


def _introduction(rounds: int, seconds: float) -> str:
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    return (
        f"`make bench` wrote this page in {seconds / 60:.1f} minutes, with {rounds} rounds, on {os.cpu_count()} "
        f"processors ({platform.machine()}), Python {platform.python_version()}; load averages at the end: {load}. "
        "Compare only figures of the same run, by their ratio. The contenders take turns, and each runs in its own "
        "process, once per round unless its section gives another number. One stand-in process replaces the model, SQS "
        "and Secrets Manager; Valkey is real. The code is in benchmarks/. requirements/bench.txt locks the "
        "alternatives, which are not deployed."
    )


if __name__ == "__main__":
    main()
