"""Faults of acceptance: messages that reach workers before, or without, the acceptance of their call."""

import asyncio
import math

from tests.faults.faults import Catalogue
from tests.faults.proxy import Exchange, reset, swallow_the_reply
from tests.faults.sqs import calls, refuse_the_first_message
from tests.faults.valkey import runs
from tests.faults.world import World

ACCEPTANCE = Catalogue()
fault = ACCEPTANCE.fault

TRIES = 3
"""Of redis-py and of submit's queue: after as many failures they give up."""

CLAIMS = 3
"""Each of three tasks is claimed once before its call is accepted."""

LIFE_SECONDS = 8


async def _refused(world: World, prompts: list[str], *, key: str | None = None) -> None:
    reply = await world.post(prompts, key=key)
    assert reply is not None
    assert reply.status == 503


async def _worked_off_unpaid(world: World) -> None:
    """Let workers meet all that is on the queue, at no cost."""
    await world.drain()
    assert world.worker.received
    assert all(world.spent_on(prompt).asked == 0 for prompt in world.prompts)


@fault("workers meet a batch before it is accepted", calls=1, quick=True)
async def _(world: World) -> None:
    # All tries are held: a repeat of the first would accept the batch before a slow worker has claimed it.
    accept = world.redis.delay(runs("mark_accepted"), math.inf)
    claims, enough = 0, asyncio.Event()

    async def count(exchange: Exchange) -> None:
        nonlocal claims
        await exchange.forward()
        claims += exchange.seen
        if claims >= CLAIMS:
            enough.set()

    async def release_when_claimed() -> None:
        await enough.wait()
        assert all(world.spent_on(prompt).asked == 0 for prompt in world.prompts)
        accept.release()

    world.redis.on(runs("claim"), count, times=CLAIMS)
    await world.warm("submit")
    await world.worker.warm()
    await world.poll()
    await asyncio.gather(release_when_claimed(), world.submit())


@fault("a part of a batch is sent, and workers meet it before the repeat with the key", calls=1, quick=True)
async def _(world: World) -> None:
    world.aws.on(calls("SendMessageBatch"), refuse_the_first_message, times=TRIES)
    prompts = world.new_prompts(3)
    await _refused(world, prompts, key="k")
    await _worked_off_unpaid(world)
    await world.accept(prompts, key="k")


@fault("a part of a batch with a key is sent, and no repeat comes", calls=1)
async def _(world: World) -> None:
    world.aws.on(calls("SendMessageBatch"), refuse_the_first_message, times=TRIES)
    await _refused(world, world.new_prompts(3), key="k")
    await _worked_off_unpaid(world)
    await world.submit()


@fault("submit killed after the send, and workers meet its batch before the repeat with the key", calls=1)
async def _(world: World) -> None:
    prompts = world.new_prompts(3)
    await world.warm("submit")
    world.aws.after(calls("SendMessageBatch"), 1, world.kill("submit"))
    assert await world.post(prompts, key="k") is None
    await _worked_off_unpaid(world)
    await world.accept(prompts, key="k")


@fault("submit killed after the send, without a key", calls=1)
async def _(world: World) -> None:
    await world.warm("submit")
    world.aws.after(calls("SendMessageBatch"), 1, world.kill("submit"))
    assert await world.post(world.new_prompts(3)) is None
    await _worked_off_unpaid(world)
    await world.submit()


@fault("Redis is down at accept, and the caller repeats with its key", calls=1)
async def _(world: World) -> None:
    world.redis.on(runs("mark_accepted"), reset, times=TRIES)
    prompts = world.new_prompts(3)
    await _refused(world, prompts, key="k")
    await _worked_off_unpaid(world)
    await world.accept(prompts, key="k")


@fault("Redis is down at accept, without a key", calls=1)
async def _(world: World) -> None:
    world.redis.on(runs("mark_accepted"), reset, times=TRIES)
    await _refused(world, world.new_prompts(3))
    await _worked_off_unpaid(world)
    await world.submit()


@fault("every reply of accept lost after it was applied, and the caller repeats with its key", calls=1)
async def _(world: World) -> None:
    world.redis.on(runs("mark_accepted"), swallow_the_reply, times=TRIES)
    prompts = world.new_prompts(3)
    await _refused(world, prompts, key="k")
    await world.accept(prompts, key="k")


@fault("Redis restarted empty between the send and the accept", calls=1)
async def _(world: World) -> None:
    world.aws.after(calls("SendMessageBatch"), 1, world.valkey.restart_empty)
    await world.submit()


@fault(
    "Redis loses an accept after the 202",
    calls=0,
    ends="deadline_exceeded",
    lost=3,
)
async def _(world: World) -> None:
    world.redis.after(runs("create"), 1, world.valkey.save)
    await world.submit(deadline_seconds=LIFE_SECONDS)
    await world.valkey.roll_back()
