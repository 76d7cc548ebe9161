"""taskiq on a Redis stream, whose messages are acknowledged when they are done, with the asynchronous client."""

import asyncio
import contextlib

from openai import AsyncOpenAI, DefaultAioHttpClient
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.contenders.bare import ask as ask_once
from benchmarks.contenders.load import PROMPT, Clock, Load

EXTRA = 100


async def run(load: Load) -> None:
    """Send all tasks, then work on them until the clock has stopped."""
    broker = RedisStreamBroker(load.redis_url).with_result_backend(
        RedisAsyncResultBackend(load.redis_url, result_ex_time=600)
    )
    client = AsyncOpenAI(api_key="sk-made-up", base_url=load.url, max_retries=0, http_client=DefaultAioHttpClient())
    clock, over = Clock(load), asyncio.Event()

    @broker.task(task_name="ask")
    async def ask(prompt: str) -> str:
        answer = await ask_once(client, prompt, streamed=load.streamed)
        clock.tick(over.set)
        return answer

    await broker.startup()
    for _ in range(load.warm_up + load.prompts + EXTRA):
        await ask.kiq(PROMPT)
    worker = asyncio.create_task(run_receiver_task(broker, max_async_tasks=load.in_flight))
    await over.wait()
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
    await broker.shutdown()
    await client.close()


if __name__ == "__main__":
    asyncio.run(run(Load.from_arguments()))
