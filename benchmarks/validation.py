"""Validate the simulation against small measured runs."""

from dataclasses import dataclass
from typing import Final

from benchmarks.efficiency import WORKER
from benchmarks.measure import Contender, Task, run, run_together
from benchmarks.report import table
from benchmarks.servers import Servers
from benchmarks.simulation import Invocations, System, simulate


@dataclass(frozen=True, slots=True)
class Case:
    """A run that is both measured and simulated: each environment has the task's prompts, there from the start."""

    task: Task
    environments: int = 1
    requests_a_minute: int = 0

    @property
    def name(self) -> str:
        """Return its name for a table."""
        task = self.task
        return (
            f"{self.environments} x {task.prompts} prompts of {task.milliseconds / 1000:g} s, batches of {task.batch}, "
            f"{task.in_flight} at a time" + (f", {self.requests_a_minute:,} a minute" if self.requests_a_minute else "")
        )


# The model of the warm-up is as slow as the measured one: after a faster one the worker would take its answers for slow
# to begin, and ask fewer at a time.
CASES: Final = (
    Case(Task(prompts=60, in_flight=10, warm_up=10, milliseconds=500, batch=10)),
    Case(Task(prompts=150, in_flight=50, warm_up=50, milliseconds=1000, batch=150)),
    Case(Task(prompts=60, in_flight=20, warm_up=20, milliseconds=1000, batch=20), environments=3),
    # All starts are within the horizon of the schedule: the worker that is measured takes no message twice.
    Case(
        Task(prompts=75, in_flight=75, warm_up=20, milliseconds=1000, batch=75),
        environments=2,
        requests_a_minute=2_400,
    ),
)


def validated(servers: Servers, overhead: tuple[float, float]) -> str:
    """Measure and simulate each case and write the table of both."""
    rows = []
    for case in CASES:
        measured, simulated = measured_seconds(case, servers), simulated_seconds(case, overhead)
        rows.append((case.name, f"{measured:.2f}", f"{simulated:.2f}", f"{100 * (simulated / measured - 1):+.1f} %"))
    return table(("", "measured, s", "simulated, s", "difference"), rows)


def measured_seconds(case: Case, servers: Servers) -> float:
    """Run the real worker, once for each environment, and return the time from the first start to the last end."""
    limit = ("--requests-a-minute", str(case.requests_a_minute)) if case.requests_a_minute else ()
    worker = Contender(WORKER, "worker", arguments=limit)
    if case.environments == 1:
        return run(worker, case.task, servers).wall
    results = run_together(worker, case.task, servers, case.environments)
    return max(result.ended_at for result in results) - min(result.began_at for result in results)


def simulated_seconds(case: Case, overhead: tuple[float, float]) -> float:
    """Simulate the same, with every answer after the same time."""
    system = System(
        case.task.batch,
        case.task.in_flight,
        case.environments,
        *overhead,
        requests_a_minute=case.requests_a_minute,
        pollers=case.environments,
    )
    invocations = Invocations(lambda _: case.task.milliseconds / 1000)
    return simulate(system, [case.task.prompts * case.environments], invocations).ended_at
