"""arq on Redis, which forgets a job when it is done, with the asynchronous client."""

import asyncio
import os
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from openai import AsyncOpenAI, DefaultAioHttpClient

from benchmarks.contenders.bare import ask as ask_once
from benchmarks.contenders.load import PROMPT, Clock, Load

EXTRA = 100


async def run(load: Load) -> None:
    """Send all jobs, then work on them until the clock has stopped."""
    settings = RedisSettings(port=load.redis_port)
    client = AsyncOpenAI(api_key="sk-made-up", base_url=load.url, max_retries=0, http_client=DefaultAioHttpClient())
    clock = Clock(load)

    async def ask(_: dict[Any, Any], prompt: str) -> str:
        answer = await ask_once(client, prompt, streamed=load.streamed)
        clock.tick(lambda: os._exit(0))
        return answer

    pool = await create_pool(settings)
    for _ in range(load.warm_up + load.prompts + EXTRA):
        await pool.enqueue_job("ask", PROMPT)
    # Its default asks Redis twice a second.
    worker = Worker(
        functions=[func(ask, name="ask")],
        redis_settings=settings,
        max_jobs=load.in_flight,
        poll_delay=0.05,
        handle_signals=False,
    )
    await worker.async_run()


if __name__ == "__main__":
    asyncio.run(run(Load.from_arguments()))
