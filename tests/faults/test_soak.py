"""Run many tasks on a few warm workers with a few per cent of faults: no leak, and no excess payment."""

import random
from collections import Counter

import pytest

from tests.faults.model import answer_to
from tests.faults.poller import Reading
from tests.faults.proxy import reset
from tests.faults.site import Site, Timing
from tests.faults.world import World

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(1800),
]

BATCH = 500
WARM_UP = 0.3
"""The share of its invocations after which an environment has all its connections and its caches."""

RESIDENT_MAY_GROW = 12 * 1024 * 1024
FILES_MAY_GROW = 3
"""The pools reconnect after resets, so that a socket more or less may be open at the moment of a reading."""

_TIMING = Timing(worker=30, model=10, visibility=40, workers=2)
_SCRIPTS = {
    "ok": 955,
    "500, ok": 10,
    "cut, ok": 10,
    "429 ms, ok": 10,
    "no finish, ok": 5,
    "500, 500, 500": 5,
    "401": 5,
}
_ENDS = {"500, 500, 500": "attempts_exhausted", "401": "unauthorized"}
_CALLS = {"401": 0, "500, 500, 500": 3, "ok": 1, "429 ms, ok": 1}


@pytest.mark.parametrize(
    "count",
    [pytest.param(1_000, id="1000 prompts"), pytest.param(20_000, id="20000 prompts", marks=pytest.mark.faults)],
)
async def test_a_warm_worker_neither_grows_nor_loses_nor_pays_too_often(site: Site, count: int) -> None:
    chance = random.Random(count)  # noqa: S311  # which prompt meets which fault
    async with World.open(site, _TIMING) as world:
        # GIVEN a few per cent of faults, of the model and of the way to Redis
        world.redis.on(lambda _: chance.random() < 0.005, reset, times=float("inf"))
        scripts = chance.choices(list(_SCRIPTS), list(_SCRIPTS.values()), k=count)
        script_of: dict[str, str] = {}
        for start in range(0, count, BATCH):
            batch = {world.new_prompts(1, script)[0]: script for script in scripts[start : start + BATCH]}
            script_of |= batch
            await world.accept(list(batch), key=f"soak-{start}")
        # WHEN all of it has run
        await world.drain(seconds=1_200)
        # THEN every task has ended as its prompt says, for what its prompt may cost
        assert len(world.accepted) == count
        ends: Counter[str] = Counter()
        for task_id, prompt in world.accepted.items():
            task, script, spend = world.seen[task_id], script_of[prompt], world.spent_on(prompt)
            ends[task["status"]] += 1
            if script in _ENDS:
                assert (task["status"], task["error"]["code"]) == ("failed", _ENDS[script])
            else:
                assert (task["status"], task.get("result")) == ("completed", answer_to(prompt)), (script, task)
            assert spend.paid == _CALLS.get(script, 2), (script, spend)
            assert spend.most_at_once == 1
        assert ends["completed"] > ends["failed"] > 0
        assert world.worker.deaths == world.worker.failures == 0
        # AND no environment has grown
        for readings in world.worker.readings.values():
            _assert_flat(readings)


def _assert_flat(readings: list[Reading]) -> None:
    warm = readings[int(len(readings) * WARM_UP) :]
    early, late = warm[: len(warm) // 4], warm[-len(warm) // 4 :]
    # The most in each: a single reading may fall between a reset and the connection after it.
    resident = max(each.resident for each in late) - max(each.resident for each in early)
    files = max(each.files for each in late) - max(each.files for each in early)
    assert resident <= RESIDENT_MAY_GROW
    assert files <= FILES_MAY_GROW
