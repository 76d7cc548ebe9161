"""The least there is: the SDK's client and a semaphore. `--streamed` reads its typed stream."""

import asyncio
import sys
import time

from openai import AsyncOpenAI, DefaultAioHttpClient

from benchmarks.contenders.load import PROMPT, Clock, Load


async def ask(client: AsyncOpenAI, prompt: str, *, streamed: bool = False) -> str:
    """Ask once and return the text."""
    if not streamed:
        answer = await client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": prompt}]
        )
        return answer.choices[0].message.content or ""
    stream = await client.chat.completions.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": prompt}],
        stream=True,
        stream_options={"include_usage": True},
    )
    texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    return "".join(texts)


async def run(load: Load, *, with_httpx: bool) -> None:
    """Ask all prompts."""
    slots = asyncio.Semaphore(load.in_flight)
    http_client = None if with_httpx else DefaultAioHttpClient()
    async with AsyncOpenAI(api_key="sk-made-up", base_url=load.url, max_retries=0, http_client=http_client) as client:
        clock = Clock(load)

        async def one() -> None:
            async with slots:
                began = time.perf_counter()
                assert await ask(client, PROMPT, streamed=load.streamed)  # noqa: S101  # an empty answer is no answer
                clock.called(began)

        async def many(prompts: int) -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(prompts):
                    group.create_task(one())

        await many(load.warm_up)
        clock.begin()
        await many(load.prompts)
        clock.end()


if __name__ == "__main__":
    is_httpx = "--httpx" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--httpx"]
    asyncio.run(run(Load.from_arguments(), with_httpx=is_httpx))
