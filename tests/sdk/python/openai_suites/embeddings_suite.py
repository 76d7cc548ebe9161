"""openai-python: embeddings in both encodings, with the synchronous and the asynchronous client."""

import base64
import struct

import openai
import pytest
from openai.types import CreateEmbeddingResponse

from tests.sdk.conformance import conforming
from tests.sdk.python.support import EMBEDDING_MODEL


def vectors(response: CreateEmbeddingResponse) -> list[list[float]]:
    return [each.embedding for each in response.data]


def test_embeddings_are_as_the_type_says(client: openai.OpenAI, prompt: str) -> None:
    response = client.embeddings.with_raw_response.create(
        model=EMBEDDING_MODEL, input=[prompt, "Another text"], encoding_format="float"
    )

    embeddings = conforming(CreateEmbeddingResponse, response.text)
    assert [each.index for each in embeddings.data] == [0, 1]
    assert len({len(vector) for vector in vectors(embeddings)}) == 1
    assert embeddings.usage.total_tokens > 0
    assert response.request_id


def test_both_encodings_have_the_same_vectors(client: openai.OpenAI, prompt: str) -> None:
    floats = client.embeddings.create(model=EMBEDDING_MODEL, input=prompt, encoding_format="float")
    encoded = client.embeddings.create(model=EMBEDDING_MODEL, input=prompt, encoding_format="base64")
    default = client.embeddings.create(model=EMBEDDING_MODEL, input=prompt)

    data = base64.b64decode(encoded.to_dict()["data"][0]["embedding"])  # type: ignore[index]
    [vector] = vectors(floats)
    assert list(struct.unpack(f"<{len(data) // 4}f", data)) == pytest.approx(vector, rel=1e-6)
    assert vectors(default)[0] == pytest.approx(vector, rel=1e-6)


async def test_the_asynchronous_client_has_them_too(async_client: openai.AsyncOpenAI, prompt: str) -> None:
    short, whole = [
        await async_client.embeddings.create(model=EMBEDDING_MODEL, input=[prompt], dimensions=dimensions)
        for dimensions in (8, openai.omit)
    ]

    assert len(vectors(short)[0]) == 8
    assert len(vectors(whole)[0]) > 8


def test_a_bad_input_names_the_parameter(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=EMBEDDING_MODEL, input=[])

    assert refused.value.param == "input"
