"""Faults of SQS: duplicates, any order, outages and partial failures."""

import random

from tests.faults.faults import Catalogue
from tests.faults.proxy import reset, swallow_the_reply
from tests.faults.site import Timing
from tests.faults.sqs import calls, refuse_the_first_message
from tests.faults.world import World

QUEUES = Catalogue()
fault = QUEUES.fault

# Nobody dies here, so no lease has to be waited for: an invocation may be long, and a busy machine slow.
_LONG = Timing(worker=30, model=20, visibility=40, workers=3)

# One seed, so that a failing order can be run again.
_CHANCE = random.Random(6)  # noqa: S311  # an order, no secret


async def _shuffled(world: World, times: int) -> None:
    bodies = await world.take() * times
    _CHANCE.shuffle(bodies)
    await world.send(bodies)


@fault(
    "each message is delivered three times, in any order, to three workers",
    calls=1,
    timing=_LONG,
    quick=True,
)
async def _(world: World) -> None:
    await world.submit(10)
    await _shuffled(world, times=3)


@fault("duplicates arrive mid-call", calls=1, timing=_LONG, quick=True)
async def _(world: World) -> None:
    await world.submit()

    async def again() -> None:
        await world.send(world.worker.bodies.values())
        await world.worker.until(lambda: world.worker.reported >= 3)

    world.model.when("half", 3, again)


@fault("duplicates arrive after a failed call, while the original backs off", calls=2, timing=Timing(workers=2))
async def _(world: World) -> None:
    await world.submit(script="500, ok")
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    await world.send(world.worker.bodies.values())


@fault("SQS is down at submit", calls=1, quick=True)
async def _(world: World) -> None:
    world.aws.refuse()
    reply = await world.post(world.new_prompts(3))
    assert reply is not None
    assert (reply.status, reply.body["code"]) == (503, "queue_unavailable")
    await world.aws.restore()
    await world.submit()


@fault("SQS is down at submit, and the caller repeats with its key", calls=1)
async def _(world: World) -> None:
    world.aws.refuse()
    prompts = world.new_prompts(3)
    reply = await world.post(prompts, key="k")
    assert reply is not None
    assert reply.status == 503
    await world.aws.restore()
    await world.accept(prompts, key="k")


@fault("SendMessageBatch answers 200 and has not taken one", calls=1, quick=True)
async def _(world: World) -> None:
    world.aws.on(calls("SendMessageBatch"), refuse_the_first_message)
    await world.submit()


@fault("SendMessageBatch goes on refusing one", calls=1)
async def _(world: World) -> None:
    world.aws.on(calls("SendMessageBatch"), refuse_the_first_message, times=3)
    reply = await world.post(world.new_prompts(3))
    assert reply is not None
    assert reply.status == 503
    await world.submit()


@fault("reply of SendMessageBatch lost after it was applied", calls=1)
async def _(world: World) -> None:
    world.aws.on(calls("SendMessageBatch"), swallow_the_reply)
    await world.submit()


@fault("SQS takes no change of visibility", calls=2)
async def _(world: World) -> None:
    world.aws.on(calls("ChangeMessageVisibilityBatch"), reset, times=float("inf"))
    await world.submit(script="500, ok")
