"""Faults of Redis and its network: lost, rejected, delayed and forgotten writes."""

from tests.faults.faults import Catalogue
from tests.faults.proxy import never_answer, reset, swallow_the_reply
from tests.faults.site import Timing
from tests.faults.valkey import runs
from tests.faults.world import World

REDIS = Catalogue()
fault = REDIS.fault

LIFE_SECONDS = 8
_OF_ALL_TASKS = frozenset({"create", "mark_accepted", "progress"})
# A socket's timeout and its repeat fit between the answer and the end of the writes.
_PATIENT = Timing(worker=12, model=4, visibility=18)


# ── It forgets ───────────────────────────────────────────────────────────────────────────────────────────────────────


@fault("Redis restarted empty while tasks are queued", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit()
    await world.valkey.restart_empty()


@fault("Redis restarted empty mid-call", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("half", 3, world.valkey.restart_empty)


@fault("Redis restarted empty mid-call, and the worker dies too", calls=2)
async def _(world: World) -> None:
    await world.submit()

    async def both() -> None:
        world.worker.kill()
        await world.valkey.restart_empty()

    world.model.when("half", 3, both)


@fault(
    "Redis restarted empty in the third of three failing attempts",
    calls=6,
    ends="attempts_exhausted",
    because="the count is lost with the record, so that all three attempts may be made anew",
)
async def _(world: World) -> None:
    await world.submit(1, script="500, 500, cut, 500")
    world.model.when("half", 1, world.valkey.restart_empty)


@fault("Redis rolled back to a copy from before the claim, mid-call", calls=1)
async def _(world: World) -> None:
    await world.submit()
    await world.valkey.save()
    world.model.when("half", 3, world.valkey.roll_back)


@fault("Redis rolled back after complete, and the queue delivers once more", calls=2)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("asked", 3, world.valkey.save)
    await world.poll()
    await world.wait_for_status("completed")
    # The message was acknowledged: sent again, it stands for a duplicate that the queue still holds.
    world.forget_what_was_seen()
    await world.valkey.roll_back()
    await world.send(world.worker.bodies.values())


@fault("Redis fails over to a replica that has not heard of the claim", calls=1, quick=True)
async def _(world: World) -> None:
    replica = await world.replica()
    await world.submit()
    await replica.copy_once(world.valkey)
    world.model.when("half", 3, lambda: world.fail_over(replica))


@fault("Redis fails over to a replica that has not heard of the claim, and the worker dies too", calls=2)
async def _(world: World) -> None:
    replica = await world.replica()
    await world.submit()
    await replica.copy_once(world.valkey)

    def both() -> None:
        world.worker.kill()
        world.fail_over(replica)

    world.model.when("half", 3, both)


@fault(
    "Redis loses a complete after the acknowledgement",
    calls=1,
    ends="deadline_exceeded",
    lost=3,
)
async def _(world: World) -> None:
    await world.submit(deadline_seconds=LIFE_SECONDS)
    await world.valkey.save()
    await world.poll()
    await world.wait_for_status("completed")
    world.forget_what_was_seen()
    await world.valkey.roll_back()


@fault("Redis restarted empty after the acknowledgement", calls=1, ends="not_found", lost=3)
async def _(world: World) -> None:
    await world.submit()
    await world.drain()
    await world.valkey.restart_empty()


# ── It refuses ───────────────────────────────────────────────────────────────────────────────────────────────────────


@fault("Redis out of memory at submit", calls=1, quick=True)
async def _(world: World) -> None:
    await world.valkey.fill()
    reply = await world.post(world.new_prompts(3))
    assert reply is not None
    assert (reply.status, reply.body["code"]) == (503, "store_unavailable")
    await world.valkey.make_room()
    await world.submit()


@fault("Redis out of memory at the claim", calls=1)
async def _(world: World) -> None:
    await world.submit()
    await world.valkey.fill()
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    assert all(world.spent_on(prompt).asked == 0 for prompt in world.prompts)
    await world.valkey.make_room()


@fault("Redis out of memory from the claim to the end", calls=1)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("half", 3, world.valkey.fill)
    await world.drain()
    await world.valkey.make_room()


@fault("Redis is a replica that takes no writes, mid-call", calls=1)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("half", 3, world.valkey.demote)
    await world.poll()
    # A write that was refused shows that it was tried.
    await world.wait_for(lambda: world.valkey.has_refused("READONLY"))
    await world.valkey.promote()


# ── It is away ───────────────────────────────────────────────────────────────────────────────────────────────────────


@fault("Redis is down at submit", calls=1, quick=True)
async def _(world: World) -> None:
    world.redis.refuse()
    reply = await world.post(world.new_prompts(3))
    assert reply is not None
    assert reply.status == 503
    await world.redis.restore()
    await world.submit()


@fault("Redis is half open at submit: it accepts and never answers", calls=1)
async def _(world: World) -> None:
    world.redis.mute()
    reply = await world.post(world.new_prompts(3))
    assert reply is not None
    assert reply.status == 503
    world.redis.unmute()
    await world.submit()


@fault("Redis is down at the claim", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.redis.refuse()
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    assert all(world.spent_on(prompt).asked == 0 for prompt in world.prompts)
    await world.redis.restore()


@fault("Redis is a black hole at the claim", calls=1)
async def _(world: World) -> None:
    await world.submit()
    world.redis.mute()
    await world.poll()
    await world.worker.until(lambda: world.worker.reported + world.worker.deaths >= 1)
    assert all(world.spent_on(prompt).asked == 0 for prompt in world.prompts)
    world.redis.unmute()


@fault("Redis is down from mid-call until after the invocation's end", calls=2, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("half", 3, world.redis.refuse)
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    await world.redis.restore()


@fault("Redis is a black hole from mid-call until after the invocation's end", calls=2)
async def _(world: World) -> None:
    await world.submit()
    world.model.when("half", 3, world.redis.mute)
    await world.poll()
    await world.worker.until(lambda: world.worker.reported + 3 * world.worker.deaths >= 3)
    world.redis.unmute()


@fault("Redis is down at status", calls=1)
async def _(world: World) -> None:
    await world.submit()
    await world.drain()
    world.redis.refuse()
    assert await world.look() is None
    assert world.replies[-1].status == 503
    await world.redis.restore()


# ── The network between ──────────────────────────────────────────────────────────────────────────────────────────────


def _lost_reply(script: str, asked_for: str, calls: int, ends: str) -> None:
    @fault(
        f"reply of {script} lost after it was applied", calls=calls, ends=ends, quick=script in {"claim", "complete"}
    )
    async def _(world: World) -> None:
        # Of each task one; but some are one request for all, and three lost replies to that are an outage.
        world.redis.on(runs(script), swallow_the_reply, times=1 if script in _OF_ALL_TASKS else 3)
        await world.submit(script=asked_for)


for _script, _asked_for, _calls, _ends in (
    ("create", "ok", 1, "completed"),
    ("mark_accepted", "ok", 1, "completed"),
    ("claim", "ok", 1, "completed"),
    ("progress", "slow", 1, "completed"),
    ("complete", "ok", 1, "completed"),
    ("release", "500, ok", 2, "completed"),
    ("fail", "403", 0, "forbidden"),
):
    _lost_reply(_script, _asked_for, _calls, _ends)


@fault("every seventh request to Redis is reset", calls=1, quick=True)
async def _(world: World) -> None:
    count = 0

    def seventh(_: bytes) -> bool:
        nonlocal count
        count += 1
        return count % 7 == 0

    world.redis.on(seventh, reset, times=float("inf"))
    await world.submit(30)


@fault("Redis answers 300 ms late", calls=1)
async def _(world: World) -> None:
    world.redis.latency = 0.3
    await world.submit()


@fault("one connection to Redis is half open at complete", calls=1, timing=_PATIENT)
async def _(world: World) -> None:
    world.redis.on(runs("complete"), never_answer, times=1)
    await world.submit()
