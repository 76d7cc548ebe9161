"""The unmodified client of OpenAI creates embeddings, in both encodings."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

import openai
import pytest
from openai.types import CreateEmbeddingResponse

from common.domain.task import Answer, FailureCode, Usage
from common.kinds.embeddings.vectors import encoded
from tests.integration.openai.gateway import Gateway, Service

VECTOR: Final = [0.5, -0.25, 1.0]
BODY: Final[dict[str, Any]] = {"model": "embedder", "input": "Hello"}


def answer_of(encoding: str, *vectors: list[float]) -> Answer:
    data = [{"object": "embedding", "index": index, "embedding": encoded(each)} for index, each in enumerate(vectors)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    response = {"object": "list", "model": "embedder-1", "data": data, "usage": usage, "encoding_format": encoding}
    return Answer("", None, Usage(2, 0, 2), response=response)


def test_a_call_is_held_through_redirects_until_its_embeddings_are_there(
    client: openai.OpenAI, gateway: Gateway, service: Service
) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.embeddings.create, model="embedder", input=["Hello"])
        gateway.redirected.get(timeout=30)
        [message] = service.queue.drain()
        service.complete(message.task.ref, answer_of(message.request.body["encoding_format"], VECTOR))
        created = future.result()

    # The client asks for base64, and decodes it.
    assert message.request.body == {"input": ["Hello"], "encoding_format": "base64"}
    assert created.data[0].embedding == VECTOR
    assert (created.model, created.usage.prompt_tokens) == ("embedder-1", 2)


def test_numbers_are_of_the_type_that_the_client_has(client: openai.OpenAI, service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {**BODY, "encoding_format": "float"}
    service.complete(service.accept(body, key, endpoint="/embeddings"), answer_of("float", VECTOR))

    created = client.embeddings.create(model="embedder", input="Hello", encoding_format="float", extra_headers=key)

    CreateEmbeddingResponse.model_validate(created.model_dump(exclude_unset=True), strict=True)
    assert not created.model_extra
    assert created.data[0].embedding == VECTOR


@pytest.mark.parametrize("given", ["Hello", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_each_form_of_the_input_is_accepted(service: Service, given: object) -> None:
    service.accept({**BODY, "input": given}, endpoint="/embeddings")

    [message] = service.queue.drain()
    assert message.request.body == {"input": given}


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 7}, "model", "invalid_value"),
        ({"model": "unknown"}, "model", "model_not_allowed"),
        ({"model": "small"}, "model", "model_not_supported"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": ["a", ""]}, "input[1]", "blank_text"),
        ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"stream": True}, "stream", "unsupported_parameter"),
        ({"plugins": []}, "plugins", "unsupported_parameter"),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_by_its_parameter(
    service: Service, change: dict[str, Any], param: str, code: str
) -> None:
    response = service.invoke("POST", "/embeddings", {**BODY, **change})

    assert response.status == 400
    assert (response.body["error"]["param"], response.body["error"]["code"]) == (param, code)
    assert service.queue.drain() == []


def test_a_chat_of_a_model_of_embeddings_is_refused(service: Service) -> None:
    body = {"model": "embedder", "messages": [{"role": "user", "content": "Hello"}]}

    assert service.invoke("POST", "/chat/completions", body).body["error"]["code"] == "model_not_supported"


def test_a_task_that_failed_is_an_error(client: openai.OpenAI, service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    service.fail(
        service.accept({**BODY, "encoding_format": "base64"}, key, endpoint="/embeddings"), FailureCode.BAD_REQUEST
    )

    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(model="embedder", input="Hello", extra_headers=key)

    assert error.value.code == "bad_request"


@pytest.mark.parametrize("name", ["embd-unknown", "chatcmpl-x", "x"])
def test_embeddings_that_a_tenant_has_not_are_not_found(service: Service, name: str) -> None:
    assert service.invoke("GET", f"/embeddings/{name}").status == 404


def test_embeddings_of_another_tenant_are_not_found(service: Service) -> None:
    ref = service.accept(BODY, endpoint="/embeddings")

    assert service.invoke("GET", f"/embeddings/embd-{ref.task_id}", tenant="other").status == 404
