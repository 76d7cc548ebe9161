"""LangChain's way: `abatch` with a bound on what runs at a time."""

import asyncio

from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from openai import DefaultAioHttpClient
from pydantic import SecretStr

from benchmarks.contenders.load import PROMPT, Clock, Load


async def run(load: Load) -> None:
    """Ask all prompts."""
    async with DefaultAioHttpClient() as client:
        model = ChatOpenAI(
            model="gpt-5-mini",
            api_key=SecretStr("sk-made-up"),
            base_url=load.url,
            max_retries=0,
            http_async_client=client,
        )
        config = RunnableConfig(max_concurrency=load.in_flight)
        clock = Clock(load)
        if load.warm_up:
            await model.abatch([PROMPT] * load.warm_up, config)
        clock.begin()
        answers = await model.abatch([PROMPT] * load.prompts, config)
        clock.end()
        assert all(answer.content for answer in answers)  # noqa: S101  # an empty answer is no answer


if __name__ == "__main__":
    asyncio.run(run(Load.from_arguments()))
