"""Faults of leases: workers that live or die longer than a lease, and when another worker takes over."""

import asyncio
import math
import time
from dataclasses import replace
from typing import Final

from tests.faults.faults import Catalogue
from tests.faults.proxy import Exchange, reset
from tests.faults.site import Timing
from tests.faults.sqs import calls
from tests.faults.world import World

LEASES = Catalogue()
fault = LEASES.fault

LEASE_SECONDS: Final = 4
HIDDEN_SECONDS: Final = 6
"""What a heartbeat hides a message for: a lease and the time to the next heartbeat."""

SLACK_SECONDS: Final = 10
"""For a cold start, a call and a busy machine. All of this is far below the queue's own visibility."""

# Neither the worker's timeout nor the queue's visibility can be what brings a message back.
_SHORT_LEASE = Timing(worker=90, model=60, visibility=120, workers=2, variables={"LEASE_SECONDS": str(LEASE_SECONDS)})

_HEARTBEAT = calls("ChangeMessageVisibilityBatch")


@fault("worker killed mid-call, and another has its tasks a lease and a half later", calls=2, timing=_SHORT_LEASE)
async def _(world: World) -> None:
    await world.submit(script="hang, ok")
    killed_at = asyncio.get_running_loop().create_future()

    def kill() -> None:
        world.worker.kill()
        killed_at.set_result(time.monotonic())

    world.aws.after(_HEARTBEAT, 1, kill)
    await world.poll()
    began = await killed_at
    await world.wait_for_status("completed")
    assert time.monotonic() - began < HIDDEN_SECONDS + SLACK_SECONDS


@fault("a call outlasts its lease several times", calls=1, timing=_SHORT_LEASE)
async def _(world: World) -> None:
    await world.submit(script="long")


@fault("Redis is down mid-call for longer than a lease", calls=1, timing=_SHORT_LEASE)
async def _(world: World) -> None:
    await world.submit(script="long")
    moment = world.model.when("half", 3, world.redis.refuse)
    await world.poll()
    await moment.wait()
    await asyncio.sleep(LEASE_SECONDS + 1)
    await world.redis.restore()


@fault("duplicates arrive mid-call, after its lease was renewed", calls=1, timing=_SHORT_LEASE)
async def _(world: World) -> None:
    await world.submit(script="long")

    async def again(exchange: Exchange) -> None:
        await exchange.forward()
        await world.send(world.worker.bodies.values())

    world.aws.on(_HEARTBEAT, again, times=2)


# The message that is busy can't be put back either, and comes again after the queue's own visibility.
@fault(
    "SQS takes one heartbeat of a call and no more",
    calls=1,
    timing=replace(_SHORT_LEASE, worker=30, model=20, visibility=40),
)
async def _(world: World) -> None:
    heartbeats = 0

    def after_the_first(request: bytes) -> bool:
        nonlocal heartbeats
        heartbeats += _HEARTBEAT(request)
        return heartbeats > 1 and _HEARTBEAT(request)

    world.aws.on(after_the_first, reset, times=math.inf)
    await world.submit(script="long")
