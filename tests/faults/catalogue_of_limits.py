"""Faults of shared limits: one task exhausts its model's rate or the tokens per minute."""

from tests.faults.faults import Catalogue
from tests.faults.site import Timing
from tests.faults.world import World

LIMITS = Catalogue()
fault = LIMITS.fault

TOKENS_PER_MINUTE = 200_000
EXPECTED_TOKENS = 128_000
"""Worth 38 seconds of the limit: a booking that is not returned keeps the others from starting for as long."""

OTHERS_SECONDS = 20
"""For three short calls on a busy machine: less than the booking, and less than the refused task's deadline."""


async def _three_others_complete(world: World) -> None:
    others = (await world.submit()).body["task_ids"]

    async def have_completed() -> bool:
        tasks = await world.look(others)
        return tasks is not None and {task["status"] for task in tasks.values()} == {"completed"}

    await world.wait_for(have_completed, OTHERS_SECONDS)


@fault(
    "model: always a 429 for one task, beside three others",
    calls=(0, 1),
    ends={"completed", "deadline_exceeded"},
    because="the refused task costs nothing, and each of the others one call",
    leaving=True,
    quick=True,
)
async def _(world: World) -> None:
    [refused] = (await world.submit(1, "429 without a wait", deadline_seconds=OTHERS_SECONDS + 5)).body["task_ids"]
    [prompt] = world.prompts
    await world.poll()

    async def was_refused() -> bool:
        return world.spent_on(prompt).asked > 0

    await world.wait_for(was_refused)
    await _three_others_complete(world)
    tasks = await world.look([refused])
    assert tasks is not None
    assert tasks[refused]["status"] in {"queued", "processing"}


@fault(
    "a call that booked most of a minute's tokens is cancelled, beside three others",
    calls=1,
    ends={"completed", "cancelled"},
    timing=Timing(worker=60, model=50, visibility=70, variables={"MODEL_LIMITS": f"*=/{TOKENS_PER_MINUTE}"}),
    quick=True,
)
async def _(world: World) -> None:
    params = {"max_completion_tokens": EXPECTED_TOKENS}
    [cancelled] = (await world.submit(1, "hang", params=params)).body["task_ids"]
    [prompt] = world.prompts
    await world.poll()

    async def was_asked() -> bool:
        return world.spent_on(prompt).asked > 0

    await world.wait_for(was_asked)
    await world.cancel(cancelled)

    async def is_over() -> bool:
        return world.spent_on(prompt).at_once == 0

    await world.wait_for(is_over)
    await _three_others_complete(world)
