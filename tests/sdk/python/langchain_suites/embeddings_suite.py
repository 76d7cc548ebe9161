"""LangChain's OpenAIEmbeddings, which sends arrays of tokens."""

import pytest
from langchain_openai import OpenAIEmbeddings

from tests.sdk.python.support import EMBEDDING_MODEL


def test_documents_and_queries_are_embedded_alike(prompt: str) -> None:
    embeddings = OpenAIEmbeddings(model=EMBEDDING_MODEL)

    documents = embeddings.embed_documents([prompt, "Another text"])

    assert len(documents) == 2
    assert documents[0] != documents[1]
    assert embeddings.embed_query(prompt) == pytest.approx(documents[0], rel=1e-4)


async def test_texts_are_embedded_without_tokens_too(prompt: str) -> None:
    embeddings = OpenAIEmbeddings(model=EMBEDDING_MODEL, check_embedding_ctx_length=False)

    assert len(await embeddings.aembed_documents([prompt, "Another text"])) == 2
