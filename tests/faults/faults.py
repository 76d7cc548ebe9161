"""Define a fault and the assertions after it: the guarantees of the design, and the exact cost."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults.model import answer_to, refusal_to
from tests.faults.site import Timing
from tests.faults.world import TERMINAL, World

MAX_ATTEMPTS: Final = 3

type Play = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the table: what goes wrong, how its tasks may end, and the paid calls that each may have cost.

    `calls` is exact, or the bounds of what depends on which of two wins a race; `because` says which race.
    `at_once` is the most calls of one prompt at one time; more than one needs a reason too.
    `lost` is how many answers the one known hole takes; anywhere else it is 0.
    """

    name: str
    play: Play
    ends: frozenset[str]
    calls: tuple[int, int]
    timing: Timing
    because: str = ""
    at_once: int = 1
    lost: int = 0
    leaving: bool = False
    is_quick: bool = False

    @property
    def slug(self) -> str:
        """Name its test."""
        return self.name.replace(" ", "-").replace(",", "")


@dataclass(slots=True)
class Row:
    """What came of one fault."""

    fault: str
    runs: int = 1
    tasks: int = 0
    lost: int = 0
    paid_too_often: int = 0
    calls: tuple[int, int] = (0, 0)
    """The least and the most that all of its tasks may have been paid for; what they were is within."""
    hole: int = 0
    wrong: list[str] = field(default_factory=list)
    """Every promise that was broken, a sentence each."""
    logs: str = ""
    """What the functions wrote, if one was."""

    def __add__(self, other: "Row") -> "Row":
        """Add up two runs of one fault."""
        (least, most), (least_too, most_too) = self.calls, other.calls
        return Row(
            self.fault,
            self.runs + other.runs,
            self.tasks + other.tasks,
            self.lost + other.lost,
            self.paid_too_often + other.paid_too_often,
            (least + least_too, most + most_too),
            self.hole + other.hole,
            self.wrong + other.wrong,
            self.logs + other.logs,
        )


@dataclass(slots=True)
class Catalogue:
    """Collect faults; a fault is a function of the world it strikes."""

    faults: list[Fault] = field(default_factory=list)

    def fault(  # each is a word of the sentence
        self,
        name: str,
        *,
        calls: int | tuple[int, int],
        ends: str | set[str] = "completed",
        timing: Timing | None = None,
        because: str = "",
        at_once: int = 1,
        lost: int = 0,
        leaving: bool = False,
        quick: bool = False,
    ) -> Callable[[Play], Play]:
        """Enter a fault."""

        def enter(play: Play) -> Play:
            bounds = (calls, calls) if isinstance(calls, int) else calls
            assert because or (bounds[0] == bounds[1] <= MAX_ATTEMPTS and at_once == 1), "a bound needs its reason"
            allowed = frozenset({ends} if isinstance(ends, str) else ends)
            self.faults.append(
                Fault(name, play, allowed, bounds, timing or Timing(), because, at_once, lost, leaving, quick)
            )
            return play

        return enter


async def strike(fault: Fault, world: World) -> Row:
    """Let a fault happen, drain, deliver everything once more, and judge."""
    await fault.play(world)
    await world.drain(leaving=fault.leaving)
    before = {prompt: world.spent_on(prompt).asked for prompt in world.prompts}
    row = Row(fault.name, tasks=len(world.accepted), hole=fault.lost)
    if not fault.lost:
        # A terminal state never changes: not even if the queue delivers all of it again.
        await world.send(sorted(world.worker.bodies.values()))
        await world.drain(leaving=fault.leaving)
        if before != {prompt: world.spent_on(prompt).asked for prompt in world.prompts}:
            row.wrong.append("a task that had ended was called for again")
    if not all(place.has_struck for place in (world.redis, world.aws, world.to_model, world.model)):
        row.wrong.append("the fault never struck")
    await _judge_tasks(fault, world, row)
    _judge_spend(fault, world, row)
    if leaks := world.leaks():
        row.wrong.append(f"a caller's words are in {leaks}")
    if row.wrong:
        row.logs = world.logs()
    return row


def _is_answer(task: Mapping[str, Any], prompt: str) -> bool:
    """Return whether a completed task has what the model said: its answer, or its refusal."""
    if "refusal" in task:
        return bool(task["refusal"] == refusal_to(prompt) and task["result"] == "")
    return bool(task["result"] == answer_to(prompt))


async def _judge_tasks(fault: Fault, world: World, row: Row) -> None:
    now = await world.look() if world.accepted else {}
    assert now is not None, "status does not answer"
    for task_id, prompt in world.accepted.items():
        task, first = now[task_id], world.seen.get(task_id)
        end = task["error"]["code"] if task["status"] == "failed" and task.get("error") else task["status"]
        if fault.lost and end in fault.ends:
            continue
        if task["status"] not in TERMINAL or (task["status"] == "failed" and not task.get("error")):
            row.lost += 1
            row.wrong.append(f"{task_id} is {task['status']} without an end")
        elif task["status"] == "completed" and not _is_answer(task, prompt):
            row.lost += 1
            row.wrong.append(f"{task_id} has another answer than the model gave")
        elif task != first and not fault.lost:
            row.lost += 1
            row.wrong.append(f"{task_id} ended twice")
        elif end not in fault.ends:
            row.wrong.append(f"{task_id} ended as {end}, and not as {sorted(fault.ends)}")


def _judge_spend(fault: Fault, world: World, row: Row) -> None:
    least, most = fault.calls
    accepted = set(world.accepted.values())
    for prompt in world.prompts:
        spend = world.spent_on(prompt)
        # What was not accepted may cost nothing.
        at_least, at_most = (least, most) if prompt in accepted else (0, 0)
        row.paid_too_often += max(0, spend.paid - at_most)
        if not at_least <= spend.paid <= at_most:
            row.wrong.append(f"a task was paid for {spend.paid} times, and not {at_least} to {at_most}")
        if spend.most_at_once > fault.at_once:
            row.wrong.append(f"a task was called for {spend.most_at_once} times at once")
    row.calls = (least * row.tasks, most * row.tasks)
