"""LiteLLM's embeddings."""

import litellm

from tests.sdk.python.support import EMBEDDING_MODEL

LITELLM_MODEL = f"openai/{EMBEDDING_MODEL}"


async def test_embeddings_are_the_same_with_and_without_asyncio(prompt: str) -> None:
    request = {"model": LITELLM_MODEL, "input": [prompt], "encoding_format": "float"}

    response, other = litellm.embedding(**request), await litellm.aembedding(**request)

    assert response.data[0]["embedding"] == other.data[0]["embedding"]
    assert response.usage.total_tokens > 0
