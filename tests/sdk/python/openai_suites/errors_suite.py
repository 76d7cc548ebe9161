"""openai-python: each failure raises the SDK's own class for it, with `param` and `code`."""

import os
from typing import Any

import openai
import pytest

from tests.sdk.python.support import MODEL, say


def sent(error: openai.APIStatusError) -> int:
    """Return how often the SDK has sent the request."""
    return int(error.response.request.headers["x-stainless-retry-count"]) + 1


def test_a_wrong_key_is_an_authentication_error() -> None:
    with (
        openai.OpenAI(api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError, match="key") as refused,
    ):
        client.models.list()

    assert refused.value.code == "unauthorized"


def test_a_path_that_the_gateway_does_not_know_is_not_found(client: openai.OpenAI) -> None:
    elsewhere = client.with_options(base_url=os.environ["OPENAI_BASE_URL"].replace("/v1", "/v9"))

    with pytest.raises(openai.NotFoundError) as missing:
        elsewhere.models.list()

    assert (missing.value.code, missing.value.type) == ("not_found", "invalid_request_error")


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", "blank_text"),
        ({"model": "gpt-1"}, "model", "model_not_allowed"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
        ({"extra_body": {"background": True}}, "background", "unsupported_parameter"),
    ],
)
def test_a_bad_request_names_the_parameter_and_the_rule(
    client: openai.OpenAI, change: dict[str, Any], param: str, code: str
) -> None:
    request: dict[str, Any] = {"model": MODEL, "messages": say("Hello"), **change}

    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**request)

    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.request_id
    assert sent(refused.value) == 1


@pytest.mark.parametrize("path", ["/chat/completions/chatcmpl-none", "/models/gpt-1", "/assistants", "/threads/t/runs"])
def test_what_does_not_exist_is_not_found(client: openai.OpenAI, path: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.get(path, cast_to=object)

    assert missing.value.code in {"not_found", "model_not_found"}
    assert missing.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("400", openai.BadRequestError, "bad_request"),
        ("context", openai.BadRequestError, "context_length_exceeded"),
        ("policy", openai.BadRequestError, "content_policy"),
        ("404", openai.NotFoundError, "model_not_found"),
        ("quota", openai.RateLimitError, "quota_exhausted"),
    ],
)
def test_what_the_provider_refuses_is_raised_and_not_repeated(
    client: openai.OpenAI, prompt: str, fault: str, error: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(error) as failed:
        client.chat.completions.create(model=MODEL, messages=say(f"{prompt} [[fault:{fault}]]"))

    assert failed.value.code == code
    assert sent(failed.value) == 1


def test_a_failed_stream_raises_before_its_first_chunk(client: openai.OpenAI, prompt: str) -> None:
    with pytest.raises(openai.BadRequestError) as failed:
        client.chat.completions.create(model=MODEL, messages=say(f"{prompt} [[fault:policy]]"), stream=True)

    assert failed.value.code == "content_policy"


def test_an_exhausted_budget_is_a_rate_limit_error_that_is_not_repeated() -> None:
    with (
        openai.OpenAI(api_key=os.environ["KEY_WITHOUT_BUDGET"]) as client,
        pytest.raises(openai.RateLimitError) as refused,
    ):
        client.chat.completions.create(model=MODEL, messages=say("Hello"))

    assert (refused.value.code, refused.value.type) == ("budget_exhausted", "insufficient_quota")
    assert sent(refused.value) == 1


def test_a_task_of_another_tenant_is_not_found(client: openai.OpenAI, prompt: str) -> None:
    completion = client.chat.completions.create(model=MODEL, messages=say(prompt))

    with openai.OpenAI(api_key=os.environ["KEY_WITHOUT_BUDGET"]) as other, pytest.raises(openai.NotFoundError):
        other.chat.completions.retrieve(completion.id)


def test_a_reused_idempotency_key_is_a_conflict(client: openai.OpenAI, prompt: str) -> None:
    once = {"Idempotency-Key": prompt.rpartition(" ")[2]}
    first, again = (
        client.chat.completions.create(model=MODEL, messages=say(prompt), extra_headers=once) for _ in range(2)
    )
    assert first.id == again.id

    with pytest.raises(openai.ConflictError) as refused:
        client.with_options(max_retries=0).chat.completions.create(
            model=MODEL, messages=say("Another"), extra_headers=once
        )

    assert refused.value.code == "idempotency_key_reused"
