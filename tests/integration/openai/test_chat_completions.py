"""The unmodified client of OpenAI creates, retrieves and streams chat completions."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import httpx2
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from common.domain.task import Answer, FailureCode, ProviderError, TaskRef, Usage
from common.domain.transitions import CallReport
from common.store.held_calls import HeldCallStore
from functions.openai.errors import FAILURE_STATUS
from tests.integration.openai.gateway import HELLO, Gateway, Service
from tests.requests import messages_of, params_of

MESSAGES: Final[Any] = HELLO["messages"]

# The shape that OpenAI sends, and fields that it does not have.
STORED: Final[dict[str, Any]] = {
    "id": "chatcmpl-upstream",
    "object": "chat.completion",
    "created": 1_764_000_000,
    "model": "small-2026-01-01",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    },
}
ANSWER: Final = Answer("Hello there", "stop", Usage(5, 7, 12), response=STORED)


@contextmanager
def called(call: Any, *arguments: Any, **options: Any) -> Iterator[Future[Any]]:  # noqa: ANN401  # of any client
    """Call in another thread within the block."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call, *arguments, **options)


def answered(service: Service, answer: Answer, **body: object) -> dict[str, str]:
    """Complete a task for a request, and return the headers with which the same request joins it."""
    key = {"Idempotency-Key": uuid4().hex}
    service.complete(service.accept({**HELLO, **body}, key), answer)
    return key


def test_a_call_is_held_through_redirects_until_its_completion_is_there(
    client: openai.OpenAI, gateway: Gateway, service: Service
) -> None:
    with called(client.chat.completions.create, model="small", messages=MESSAGES) as future:
        gateway.redirected.get(timeout=30)
        [message] = service.queue.drain()
        service.complete(message.task.ref, ANSWER)
        completion = future.result()

    assert completion.choices[0].message.content == "Hello there"
    assert completion.id == f"chatcmpl-{message.task.ref.task_id}"
    assert completion.model == "small-2026-01-01"
    assert completion._request_id
    assert messages_of(message) == MESSAGES
    # A redirect is a GET below the path of the stage, with the key.
    hops = [path.partition("?")[2] for method, path, _ in gateway.requests if method == "GET"]
    assert hops == [f"hop={hop}" for hop in range(1, len(hops) + 1)]


def test_the_asynchronous_client_is_held_in_the_same_way(gateway: Gateway, service: Service) -> None:
    async def call() -> ChatCompletion:
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key="key") as client:
            return await client.chat.completions.create(
                model="small", messages=MESSAGES, extra_headers={"Prefer": "wait=1"}
            )

    with called(lambda: asyncio.run(call())) as future:
        gateway.redirected.get(timeout=30)
        [message] = service.queue.drain()
        service.complete(message.task.ref, ANSWER)

        assert future.result().choices[0].message.content == "Hello there"


def test_a_completion_is_the_providers_object_with_our_id(client: openai.OpenAI, service: Service) -> None:
    key = answered(service, ANSWER)

    completion = client.chat.completions.create(model="small", messages=MESSAGES, extra_headers=key)
    body = completion.model_dump(exclude_unset=True)

    ChatCompletion.model_validate(body, strict=True)
    assert not completion.model_extra
    message = {**STORED["choices"][0]["message"], "content": "Hello there"}
    assert body == {**STORED, "id": completion.id, "choices": [{**STORED["choices"][0], "message": message}]}


def test_a_stored_completion_can_be_retrieved(client: openai.OpenAI, service: Service) -> None:
    ref = service.accept()
    service.complete(ref, ANSWER)

    completion = client.chat.completions.retrieve(f"chatcmpl-{ref.task_id}")

    assert completion.choices[0].message.content == "Hello there"


@pytest.mark.parametrize("name", ["chatcmpl-v000000000000000000000000000000000000-0", "chatcmpl-x", "resp_1"])
def test_an_id_of_no_task_is_not_found(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.retrieve(name)

    assert refused.value.code == "not_found"


def test_a_completion_of_another_tenant_is_not_found(service: Service) -> None:
    ref = service.accept()
    service.complete(ref, ANSWER)

    response = service.invoke("GET", f"/chat/completions/chatcmpl-{ref.task_id}", tenant="rival")

    assert (response.status, response.body["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("endpoint", ["responses", "embeddings"])
def test_a_task_of_another_kind_is_no_chat_completion(service: Service, endpoint: str) -> None:
    model = "embedder" if endpoint == "embeddings" else "small"
    created = service.invoke("POST", f"/{endpoint}", {"model": model, "input": "Hello"}, {"Prefer": "wait=0"})
    assert created.status == 303, created.text
    [message] = service.queue.drain()

    response = service.invoke("GET", f"/chat/completions/chatcmpl-{message.task.ref.task_id}")

    assert (response.status, response.body["error"]["code"]) == (404, "not_found")


def test_held_calls_take_no_place_of_the_task_api(service: Service) -> None:
    assert [hold(service, service.accept()) for _ in range(2)] == [303, 303]
    elsewhere = HeldCallStore(service.function.redis, service.function.settings.holds)

    assert service.function.runner.run(elsewhere.acquire(service.tenant, "call"))


def test_a_stream_is_replayed_with_its_usage(client: openai.OpenAI, service: Service) -> None:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    key = answered(service, ANSWER, **options)
    state = ChatCompletionStreamState()

    with client.chat.completions.create(model="small", messages=MESSAGES, extra_headers=key, **options) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        for chunk in stream:
            ChatCompletionChunk.model_validate(chunk.model_dump(exclude_unset=True), strict=True)
            state.handle_chunk(chunk)

    completion = state.get_final_completion()
    assert completion.choices[0].message.content == "Hello there"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 12


def test_a_stream_stays_one_through_redirects(client: openai.OpenAI, gateway: Gateway, service: Service) -> None:
    def text() -> str:
        with client.chat.completions.create(model="small", messages=MESSAGES, stream=True) as stream:
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    with called(text) as future:
        assert "stream=true" in gateway.redirected.get(timeout=30)
        [message] = service.queue.drain()
        service.complete(message.task.ref, ANSWER)

        assert future.result() == "Hello there"


def test_the_request_is_passed_on_as_it_is(service: Service) -> None:
    params = {
        "n": 2,
        "logprobs": True,
        "top_logprobs": 1,
        "metadata": {"a": "b"},
        "store": True,
        "max_completion_tokens": 10,
        "response_format": {"type": "json_object"},
        "provider_option": {"x": [1, None]},
    }
    service.accept({**HELLO, **params, "temperature": None, "stream": False})

    [message] = service.queue.drain()

    assert params_of(message) == params
    assert message.task.model == "small"


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": None}, 400, "missing_required_parameter", "model"),
        ({"messages": None}, 400, "missing_required_parameter", "messages"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "blank_text", "messages[0].content"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
        ({"model": "unknown"}, 400, "model_not_allowed", "model"),
        ({"temperature": 3}, 400, "invalid_value", "temperature"),
        ({"n": 0}, 400, "invalid_value", "n"),
        ({"N": 2}, 400, "invalid_value", "N"),
        ({"Functions": []}, 400, "unsupported_parameter", "Functions"),
        ({"stop": ["a"] * 5}, 400, "invalid_value", "stop"),
        ({"stream": "yes"}, 400, "invalid_value", "stream"),
        ({"stream_options": {"include_usage": True}}, 400, "invalid_value", "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, 400, "unknown_field", "stream_options.x"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            400,
            "unsupported_parameter",
            "stream_options.include_obfuscation",
        ),
        ({"background": True}, 400, "unsupported_parameter", "background"),
        ({"modalities": ["text", "audio"]}, 400, "unsupported_parameter", "modalities"),
        ({"audio": {"voice": "alloy"}}, 400, "unsupported_parameter", "audio"),
        ({"functions": [{}]}, 400, "unsupported_parameter", "functions"),
        ({"web_search_options": {}}, 400, "unsupported_parameter", "web_search_options"),
        ({"service_tier": "flex"}, 400, "unpriced_param", "service_tier"),
        ({"messages": [{"role": "user", "content": "x" * 100_001}]}, 413, "prompt_too_large", None),
    ],
)
def test_bad_input_names_the_parameter_and_sends_nothing(
    client: openai.OpenAI, service: Service, change: dict[str, Any], *, status: int, code: str, param: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.post("/chat/completions", body={**HELLO, **change}, cast_to=ChatCompletion)

    error = refused.value
    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.type == "invalid_request_error"
    assert error.request_id
    assert not service.queue.drain()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/assistants"), ("DELETE", "/models"), ("POST", "/")]
)
def test_an_unknown_path_or_method_is_not_found(service: Service, method: str, path: str) -> None:
    response = service.invoke(method, path)

    assert (response.status, response.body["error"]["code"]) == (404, "not_found")
    assert response.body["error"]["message"] == response.body["detail"]


@pytest.mark.parametrize("code", FailureCode)
def test_a_failed_task_answers_with_the_status_of_its_code_and_is_not_repeated(
    client: openai.OpenAI, gateway: Gateway, service: Service, code: FailureCode
) -> None:
    ref = service.accept()
    service.fail(ref, code, CallReport(error=ProviderError(param="messages[0].content")))

    with pytest.raises(openai.APIStatusError) as failed:
        client.chat.completions.retrieve(f"chatcmpl-{ref.task_id}")

    assert (failed.value.status_code, failed.value.code) == (FAILURE_STATUS.get(code, 502), code)
    assert failed.value.param == "messages[0].content"
    assert ref.task_id in failed.value.message
    assert len(gateway.requests) == 1


def test_a_cancelled_task_is_a_conflict_that_is_not_repeated(
    client: openai.OpenAI, gateway: Gateway, service: Service
) -> None:
    ref = service.accept()
    service.cancel(ref)

    with pytest.raises(openai.ConflictError) as cancelled:
        client.chat.completions.retrieve(f"chatcmpl-{ref.task_id}")

    assert cancelled.value.code == "cancelled"
    assert len(gateway.requests) == 1


def test_the_last_hop_names_the_task_and_is_not_repeated(
    client: openai.OpenAI, gateway: Gateway, service: Service
) -> None:
    ref = service.accept()

    with pytest.raises(openai.InternalServerError) as ended:
        client.get(f"/chat/completions/chatcmpl-{ref.task_id}?hop=18", cast_to=httpx2.Response)

    assert (ended.value.status_code, ended.value.code) == (504, "still_running")
    assert f"chatcmpl-{ref.task_id}" in ended.value.message
    assert len(gateway.requests) == 1
    # The task goes on, and can be read later.
    service.complete(ref, ANSWER)
    assert client.chat.completions.retrieve(f"chatcmpl-{ref.task_id}").choices[0].message.content == "Hello there"


@pytest.mark.parametrize("hop", ["19", "-1", "x", "1e9", ""])
def test_a_hop_that_no_redirect_has_is_refused(service: Service, hop: str) -> None:
    response = service.invoke("GET", f"/chat/completions/chatcmpl-x?hop={hop}")

    assert (response.status, response.body["error"]["param"]) == (400, "hop")


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
def test_a_transport_retry_joins_the_task_of_its_first_try(
    client: openai.OpenAI, gateway: Gateway, service: Service
) -> None:
    gateway.drops = 1

    with called(client.chat.completions.create, model="small", messages=MESSAGES) as future:
        # GIVEN a connection that dies while the call is held
        gateway.dropped.get(timeout=30)
        # WHEN the SDK repeats the call
        gateway.redirected.get(timeout=30)
        # THEN there is one task to pay, and its answer is that of the call
        [message] = service.queue.drain()
        service.complete(message.task.ref, ANSWER)
        assert future.result().id == f"chatcmpl-{message.task.ref.task_id}"
    counts = [headers["x-stainless-retry-count"] for method, _, headers in gateway.requests if method == "POST"]
    assert counts == ["0", "1"]


def test_a_retry_whose_first_try_never_arrived_creates_the_task_that_further_retries_join(service: Service) -> None:
    refs = [service.accept(headers={"x-stainless-retry-count": count}) for count in ("1", "2")]

    assert refs[0] == refs[1]
    assert len(service.queue.drain()) == 1


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"x-stainless-retry-count": "0"}, False),
        ({}, False),
        ({"x-stainless-retry-count": "one"}, False),
        ({"x-stainless-retry-count": "1"}, True),
    ],
)
def test_only_a_transport_retry_joins(service: Service, other: dict[str, str], *, is_same: bool) -> None:
    first = service.accept(headers={"x-stainless-retry-count": "0"})

    assert (service.accept(headers=other) == first) is is_same


def test_a_retry_joins_no_task_of_another_body_or_tenant(service: Service) -> None:
    first = service.accept()
    retry = {"x-stainless-retry-count": "1"}
    other_body = service.accept({**HELLO, "seed": 1}, retry)
    service.tenant += "-rival"
    other_tenant = service.accept(headers=retry)

    assert len({first.batch_id, other_body.batch_id, other_tenant.batch_id}) == 3


def test_an_idempotency_key_works_as_everywhere(service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}

    assert service.accept(headers=key) == service.accept(headers=key)
    conflict = service.invoke("POST", "/chat/completions", {**HELLO, "seed": 1}, key)
    assert (conflict.status, conflict.body["error"]["code"]) == (409, "idempotency_key_reused")


def hold(service: Service, ref: TaskRef, seconds: int = 1) -> int:
    path = f"/chat/completions/chatcmpl-{ref.task_id}"
    return service.invoke("GET", path, headers={"Prefer": f"wait={seconds}"}).status


def test_a_call_that_finds_no_place_is_refused_before_anything_is_accepted(service: Service) -> None:
    # GIVEN a tenant with as many held calls as it may have: between two redirects a call keeps its place
    assert [hold(service, service.accept()) for _ in range(2)] == [303, 303]
    service.queue.drain()

    response = service.invoke("POST", "/chat/completions", HELLO, {"Prefer": "wait=1"})

    assert (response.status, response.body["error"]["code"]) == (429, "too_many_held_calls")
    seconds = int(response.headers["Retry-After"])
    assert 1 <= seconds <= 20
    assert response.headers["retry-after-ms"] == str(seconds * 1000)
    assert "x-should-retry" not in response.headers
    assert not service.queue.drain()


def test_a_place_is_renewed_by_the_next_hop_and_free_after_the_end(service: Service) -> None:
    held = [service.accept() for _ in range(2)]
    assert [hold(service, ref) for ref in held] == [303, 303]
    assert hold(service, held[0]) == 303

    service.complete(held[0], ANSWER)

    assert hold(service, held[0]) == 200
    assert hold(service, service.accept()) == 303


def test_budgets_and_full_queues_are_not_repeated(service: Service) -> None:
    service.context["budgets"] = '{"requests": 1}'
    service.accept()

    response = service.invoke("POST", "/chat/completions", HELLO, {"Prefer": "wait=0"})

    assert (response.status, response.body["error"]["code"]) == (429, "budget_exhausted")
    assert response.body["error"]["type"] == "insufficient_quota"
    assert response.headers["x-should-retry"] == "false"


def test_models_are_those_that_the_key_may_use(client: openai.OpenAI, service: Service) -> None:
    assert [model.id for model in client.models.list()] == ["small", "large", "embedder"]

    service.context["models"] = '["large", "workflow/story"]'

    assert [model.id for model in client.models.list()] == ["large"]
    model = client.models.retrieve("large")
    assert type(model).model_validate(model.model_dump(), strict=True).owned_by == "sluice"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("small")
    assert refused.value.code == "model_not_found"
