"""Clients as their users make them: all read the address and the key from OPENAI_BASE_URL and OPENAI_API_KEY."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import httpx2
import openai
import pytest

from local.answers import prompt_digest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[str]:
    """Keep one event loop for all tests: LangChain and LiteLLM share their connections between clients."""
    yield anyio_backend  # noqa: PT022  # a fixture that returns would let the loop end


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    with openai.OpenAI() as client:
        yield client


@pytest.fixture
async def async_client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI() as client:
        yield client


@pytest.fixture
def prompt() -> str:
    """Return a prompt that no other test sends, so that the model counts its calls."""
    return f"A joke about plants, {uuid4().hex}"


@pytest.fixture
def calls() -> Callable[[str], int]:
    """Return the counter of the calls that the model has had with a prompt as its last message."""

    def count(prompt: str) -> int:
        counters = httpx2.get(f"{os.environ['MODEL_ADDRESS']}/calls", trust_env=False).json()
        return int(counters["by_prompt"].get(prompt_digest(prompt), 0))

    return count
