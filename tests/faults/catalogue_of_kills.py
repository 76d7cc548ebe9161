"""Faults by kill -9 at every transition of a task, and by Lambda's own timeout."""

from tests.faults.faults import Catalogue
from tests.faults.site import Timing
from tests.faults.sqs import calls
from tests.faults.valkey import runs
from tests.faults.world import World

KILLS = Catalogue()
fault = KILLS.fault


# ── The worker: three tasks at the same place each time ──────────────────────────────────────────────────────────────


@fault("worker killed before the claim", calls=1)
async def _(world: World) -> None:
    await world.submit()
    world.redis.before(runs("claim"), 3, world.worker.kill)


@fault("worker killed after the claim", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.redis.after(runs("claim"), 3, world.worker.kill)


@fault("worker killed mid-call", calls=2, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("asked", 3, world.worker.kill)


@fault("worker killed mid-stream", calls=2)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("half", 3, world.worker.kill)


@fault("worker killed with the answer in hand, before its write", calls=2, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.redis.before(runs("complete"), 3, world.worker.kill)


@fault("worker killed after complete, before the delete", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.redis.after(runs("complete"), 3, world.worker.kill)


@fault("worker killed before the release of a failed call", calls=2)
async def _(world: World) -> None:
    await world.submit(script="500, ok")
    world.redis.before(runs("release"), 3, world.worker.kill)


@fault("worker killed after the release of a failed call", calls=2)
async def _(world: World) -> None:
    await world.submit(script="500, ok")
    world.redis.after(runs("release"), 3, world.worker.kill)


@fault("worker killed before a task is recorded as failed", calls=(0, 0), ends="unauthorized")
async def _(world: World) -> None:
    await world.submit(script="401")
    world.redis.before(runs("fail"), 3, world.worker.kill)


@fault("worker killed mid-call three times", calls=3, ends="attempts_exhausted")
async def _(world: World) -> None:
    await world.submit(script="hang")
    for _ in range(3):
        moment = world.model.when("asked", 3, world.worker.kill)
        await world.poll()
        await moment.wait()


@fault("event source dies after the answer, before the delete", calls=1)
async def _(world: World) -> None:
    await world.submit()
    world.worker.lose_answers = 1


@fault("worker's time runs out mid-call, and Lambda kills it", calls=2)
async def _(world: World) -> None:
    await world.submit()
    # Frozen, it can't stop by itself; the event source kills it at its timeout.
    world.model.when("half", 3, world.worker.freeze)


@fault("a poison message kills its worker 20 times", calls=0, ends="dead_letter", timing=Timing(visibility=1))
async def _(world: World) -> None:
    await world.submit(1)
    world.redis.before(runs("claim"), 1, world.worker.kill, again=19)


# ── Submit: what was not answered with 202 costs nothing, or is found by a repeat with the same key ──────────────────


@fault("submit killed before the record", calls=1)
async def _(world: World) -> None:
    prompts = world.new_prompts(3)
    await world.warm("submit")
    world.redis.before(runs("create"), 1, world.kill("submit"))
    assert await world.post(prompts, key="k") is None
    await world.accept(prompts, key="k")


@fault("submit killed after the record, before the send", calls=1)
async def _(world: World) -> None:
    prompts = world.new_prompts(3)
    await world.warm("submit")
    world.redis.after(runs("create"), 1, world.kill("submit"))
    assert await world.post(prompts, key="k") is None
    assert await world.take() == []
    await world.accept(prompts, key="k")


@fault("submit killed after the send, before it is marked", calls=1)
async def _(world: World) -> None:
    prompts = world.new_prompts(3)
    await world.warm("submit")
    world.aws.after(calls("SendMessageBatch"), 1, world.kill("submit"))
    assert await world.post(prompts, key="k") is None
    await world.accept(prompts, key="k")


@fault("submit killed after the mark, before the 202", calls=1, quick=True)
async def _(world: World) -> None:
    prompts = world.new_prompts(3)
    await world.warm("submit")
    world.redis.after(runs("mark_accepted"), 1, world.kill("submit"))
    assert await world.post(prompts, key="k") is None
    await world.accept(prompts, key="k")


@fault("submit killed before the send, without a key", calls=1, quick=True)
async def _(world: World) -> None:
    await world.warm("submit")
    world.aws.before(calls("SendMessageBatch"), 1, world.kill("submit"))
    assert await world.post(world.new_prompts(3)) is None
    await world.submit()


# ── Freeze and thaw: a worker that comes back from the dead ──────────────────────────────────────────────────────────


@fault(
    "worker frozen mid-stream past its lease, then thawed",
    calls=2,
    at_once=2,
    because="the frozen process keeps its call open, which Lambda's own kill would have ended",
    timing=Timing(workers=2),
    quick=True,
)
async def _(world: World) -> None:
    await world.submit()
    world.worker.kills_at_timeout = False
    world.model.when("half", 3, world.worker.freeze)
    await world.poll()
    await world.wait_for_status("completed")
    world.worker.thaw()
    await world.worker.until(lambda: not world.worker.busy)


@fault(
    "a dead worker's answer arrives while another asks again",
    calls=2,
    timing=Timing(workers=2),
)
async def _(world: World) -> None:
    await world.submit(script="ok")
    late = world.redis.delay(runs("complete"), 3)
    await world.poll()
    await late.caught()
    world.worker.kill()
    again = world.model.when("half", 3, late.release)
    await again.wait()


@fault("a dead worker's answer arrives after another's", calls=2, timing=Timing(workers=2))
async def _(world: World) -> None:
    await world.submit()
    late = world.redis.delay(runs("complete"), 3)
    await world.poll()
    await late.caught()
    world.worker.kill()
    await world.wait_for_status("completed")
    late.release()


# ── Deployments in mid-flight ────────────────────────────────────────────────────────────────────────────────────────


@fault("new code is deployed while old messages wait", calls=1)
async def _(world: World) -> None:
    await world.submit()
    world.newer = True


@fault("messages of a later version meet old code, then new", calls=1)
async def _(world: World) -> None:
    await world.submit()
    await world.send([world.as_later_version(body) for body in await world.take()])
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    assert all(world.spent_on(prompt).asked == 0 for prompt in world.prompts)
    world.newer = True
    await world.worker.retire()


@fault("old code meets messages with unknown fields of its own version", calls=1)
async def _(world: World) -> None:
    await world.submit()
    await world.send([world.as_later_version(body, raised=0) for body in await world.take()])
