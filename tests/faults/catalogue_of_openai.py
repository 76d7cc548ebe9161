"""Faults of held calls: SDKs of OpenAI whose connections die, or whose redirects are used up."""

from http import HTTPStatus

from tests.faults.faults import Catalogue
from tests.faults.valkey import runs
from tests.faults.world import World

OPENAI = Catalogue()
fault = OPENAI.fault

LAST_HOP = 18


@fault("openai killed before the record, and the SDK repeats its call", calls=1)
async def _(world: World) -> None:
    [prompt] = world.new_prompts(1)
    await world.warm("openai")
    world.redis.before(runs("create"), 1, world.kill("openai"))
    assert await world.chat(prompt) is None
    await _repeated(world, prompt)


@fault("openai killed while it holds a call, and the SDK repeats it", calls=1, quick=True)
async def _(world: World) -> None:
    [prompt] = world.new_prompts(1)
    await world.warm("openai")
    world.redis.after(runs("mark_accepted"), 1, world.kill("openai"))
    assert await world.chat(prompt) is None
    await _repeated(world, prompt)


@fault("openai killed after the redirect, and the SDK repeats its call", calls=1)
async def _(world: World) -> None:
    [prompt] = world.new_prompts(1)
    await _redirected(world, prompt)
    world.kill("openai")()
    await _repeated(world, prompt)
    assert len(world.accepted) == 1


@fault("a held call reaches its last redirect, and its task goes on", calls=1)
async def _(world: World) -> None:
    [prompt] = world.new_prompts(1)
    await _redirected(world, prompt)
    [task_id] = world.accepted
    reply = await world.retrieve_chat(task_id, hop=LAST_HOP)
    assert reply is not None
    assert (reply.status, reply.headers["x-should-retry"]) == (HTTPStatus.GATEWAY_TIMEOUT, "false")
    assert task_id in reply.body["error"]["message"]


async def _redirected(world: World, prompt: str, retry_count: int = 0) -> None:
    reply = await world.chat(prompt, retry_count=retry_count)
    assert reply is not None
    assert reply.status == HTTPStatus.SEE_OTHER, reply.text


async def _repeated(world: World, prompt: str) -> None:
    """Repeat a call as an SDK does, until it is held."""
    retry_count = 1
    while (reply := await world.chat(prompt, retry_count=retry_count)) is None or reply.status != HTTPStatus.SEE_OTHER:
        # The first try may be sending the task still: its lease of 35 s ends then.
        assert reply is not None
        assert reply.status == HTTPStatus.CONFLICT, reply.text
        await world.repeat_later()
        retry_count += 1
