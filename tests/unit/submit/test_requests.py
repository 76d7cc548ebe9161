"""The requests of an endpoint: what each kind takes, and the place and the rule where it takes something not."""

from dataclasses import replace
from typing import Any

import pytest

from common.api.pagination import MOST_ANSWER_BYTES, size_of
from common.domain.errors import CallerError, InvalidItems
from common.domain.request import Kind, Request
from common.kinds.params import RESERVED
from common.submission.model import Prompt
from functions.submit.parsing import parse_call
from tests.unit.submit.calls import LIMITS as NARROW
from tests.unit.submit.calls import user

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
LIMITS = replace(NARROW, models=("small", "embedder", "large"), embedding_models=("embed*",), most_prompt_bytes=100_000)

LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [user("Hello")]},
    RESPONSES: {"input": "Hello"},
    EMBEDDINGS: {"input": "Hello"},
}
"""The least that a body of each endpoint has."""

of_each_endpoint = pytest.mark.parametrize("endpoint", LEAST)


def call(endpoint: object, *requests: object, **fields: object) -> dict[str, Any]:
    return {"endpoint": endpoint, "requests": list(requests), **fields}


def parsed(endpoint: str, body: dict[str, Any], **fields: object) -> Prompt:
    [prompt] = parse_call(call(endpoint, {"body": body}, **fields), LIMITS).prompts
    return prompt


def refusal(document: object) -> CallerError:
    with pytest.raises(CallerError) as caught:
        parse_call(document, LIMITS)
    return caught.value


def refused(endpoint: str, **fields: object) -> tuple[str | None, str]:
    """Return the place, relative to the body, and the code of a body that is refused."""
    error = refusal(call(endpoint, {"body": {**LEAST[endpoint], **fields}}))
    assert error.pointer is not None
    return error.pointer.removeprefix("/requests/0/body"), error.code


@pytest.mark.parametrize(
    ("endpoint", "kind", "model"),
    [
        (CHAT, Kind.CHAT, "small"),
        (RESPONSES, Kind.RESPONSES, "small"),
        (EMBEDDINGS, Kind.EMBEDDINGS, "embedder"),
    ],
)
def test_a_body_becomes_a_request_of_its_kind_for_the_first_model_that_takes_it(
    endpoint: str, kind: Kind, model: str
) -> None:
    assert parsed(endpoint, LEAST[endpoint]) == Prompt(model, request=Request(kind, LEAST[endpoint]))


@of_each_endpoint
def test_a_line_of_a_batch_file_is_a_request(endpoint: str) -> None:
    line = {"custom_id": "row-1", "method": "POST", "url": endpoint, "body": LEAST[endpoint]}

    [prompt] = parse_call(call(endpoint, line), LIMITS).prompts

    assert prompt.custom_id == "row-1"


@of_each_endpoint
def test_what_sluice_sets_and_what_is_null_is_left_out(endpoint: str) -> None:
    ignored = {"stream": True, "stream_options": {"include_usage": True}, "user": None, "x": None}

    assert parsed(endpoint, LEAST[endpoint] | ignored).request.body == LEAST[endpoint]


def test_a_response_is_neither_stored_nor_in_the_background_at_the_provider() -> None:
    ignored = {"store": True, "background": True}

    assert parsed(RESPONSES, LEAST[RESPONSES] | ignored).request.body == LEAST[RESPONSES]


@of_each_endpoint
def test_params_that_are_not_known_are_left_to_the_model(endpoint: str) -> None:
    body = LEAST[endpoint] | {"of_tomorrow": {"a": [1]}}

    assert parsed(endpoint, body).request.body == body


def test_the_model_is_that_of_the_body_and_then_that_of_the_call() -> None:
    assert parsed(CHAT, LEAST[CHAT] | {"model": "large"}, model="small").model == "large"
    assert parsed(CHAT, LEAST[CHAT] | {"model": None}, model="large").model == "large"


@pytest.mark.parametrize(
    ("endpoint", "model", "code", "kinds"),
    [
        (CHAT, "embedder", "model_not_supported", "embeddings"),
        (RESPONSES, "embedder", "model_not_supported", "embeddings"),
        (EMBEDDINGS, "small", "model_not_supported", "chat and responses"),
        (EMBEDDINGS, "unknown", "model_not_allowed", "small, embedder, large"),
    ],
)
def test_a_model_that_does_not_take_such_requests_is_refused_with_those_it_takes(
    endpoint: str, model: str, code: str, kinds: str
) -> None:
    error = refusal(call(endpoint, {"body": LEAST[endpoint]}, {"body": LEAST[endpoint] | {"model": model}}))

    assert (error.pointer, error.code) == ("/requests/1/body/model", code)
    assert kinds in error.detail


def test_prompts_are_not_for_a_model_of_embeddings() -> None:
    assert refusal({"prompts": ["a"], "model": "embedder"}).code == "model_not_supported"


def test_a_key_without_a_model_for_the_endpoint_gets_the_rule() -> None:
    with pytest.raises(CallerError) as caught:
        parse_call({"prompts": ["a"]}, replace(LIMITS, models=("embedder",)))

    assert caught.value.code == "model_not_supported"


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        (call("/v1/images", {"body": {}}), "/endpoint", "invalid_value"),
        (call(7, {"body": {}}), "/endpoint", "invalid_value"),
        ({"requests": [{"body": {}}]}, "", "invalid_value"),
        ({"endpoint": CHAT}, "", "invalid_value"),
        (call(CHAT, {"body": {}}, prompts=["a"]), "", "invalid_value"),
        (call(CHAT), "/requests", "no_prompts"),
        (call(CHAT, *[{"body": LEAST[CHAT]}] * 6), "/requests", "too_many_prompts"),
        (call(CHAT, "text"), "/requests/0", "invalid_value"),
        (call(CHAT, {}), "/requests/0", "invalid_value"),
        (call(CHAT, {"body": []}), "/requests/0/body", "invalid_value"),
        (call(CHAT, {"body": {}, "prompt": "a"}), "/requests/0/prompt", "unknown_field"),
        (call(CHAT, {"body": {}, "method": "GET"}), "/requests/0/method", "invalid_value"),
        (call(CHAT, {"body": {}, "url": RESPONSES}), "/requests/0/url", "invalid_value"),
        (call(CHAT, {"body": {"model": 7}}), "/requests/0/body/model", "invalid_value"),
        (call(CHAT, {"body": {}}, system="Be brief"), "/system", "invalid_value"),
        (call(CHAT, {"body": {}}, params={"seed": 1}), "/params", "invalid_value"),
    ],
)
def test_a_call_that_breaks_a_rule_names_the_place(document: dict[str, Any], pointer: str, code: str) -> None:
    error = refusal(document)

    assert (error.pointer, error.code) == (pointer, code)


def test_a_custom_id_is_unique_in_a_call() -> None:
    request = {"custom_id": "same", "body": LEAST[CHAT]}

    error = refusal(call(CHAT, request, request))

    assert (error.pointer, error.code) == ("/requests/1/custom_id", "duplicate_custom_id")


def test_each_faulty_request_is_named() -> None:
    error = refusal(call(CHAT, {"body": {}}, {"body": LEAST[CHAT]}, {"body": {"messages": []}}))

    assert isinstance(error, InvalidItems)
    assert [each.pointer for each in error.errors] == ["/requests/0/body/messages", "/requests/2/body/messages"]


@of_each_endpoint
@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_endpoint_takes_a_reserved_param_in_any_spelling(endpoint: str, name: str) -> None:
    for spelling in (name, name.upper(), name.replace("_", "-")):
        assert refused(endpoint, **{spelling: True}) == (f"/{spelling}", "reserved_param")


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        ({"messages": None}, "/messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "/messages/0/role", "invalid_value"),
        ({"temperature": 3}, "/temperature", "invalid_value"),
        ({"n": 0}, "/n", "invalid_value"),
        ({"Stream": True}, "/Stream", "reserved_param"),
        ({"modalities": ["audio"]}, "/modalities", "reserved_param"),
        ({"service_tier": "flex"}, "/service_tier", "unpriced_param"),
    ],
)
def test_a_body_of_chat_completions_is_validated(fields: dict[str, Any], place: str, code: str) -> None:
    assert refused(CHAT, **fields) == (place, code)


def test_a_body_of_chat_completions_may_ask_for_what_only_the_response_shows() -> None:
    params = {"n": 2, "logprobs": True, "top_logprobs": 3}

    assert parsed(CHAT, LEAST[CHAT] | params).request.body == LEAST[CHAT] | params


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"input": [{"role": "user", "content": "Hello"}], "tools": [], "include": []}, id="agents-sdk"),
        pytest.param({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, id="parts"),
        pytest.param(
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}, {"type": "reasoning"}]},
            id="items",
        ),
        pytest.param(
            {
                "input": "a",
                "instructions": "Be brief",
                "max_output_tokens": 50,
                "text": {"format": {"type": "json_object"}},
                "reasoning": {"effort": "low"},
                "tools": [{"type": "function", "name": "dig", "parameters": {}}],
                "tool_choice": {"type": "function", "name": "dig"},
                "metadata": {"a": "b"},
            },
            id="params",
        ),
    ],
)
def test_a_body_of_responses_is_passed_on(body: dict[str, Any]) -> None:
    assert parsed(RESPONSES, body).request.body == body


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        ({"input": None}, "/input", "invalid_value"),
        ({"input": " "}, "/input", "blank_text"),
        ({"input": []}, "/input", "invalid_value"),
        ({"input": 7}, "/input", "invalid_value"),
        ({"input": ["a"]}, "/input/0", "invalid_value"),
        ({"input": [{"role": "robot", "content": "a"}]}, "/input/0/role", "invalid_value"),
        ({"input": [{"role": "user"}]}, "/input/0/content", "invalid_value"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "/input/0", "unsupported_parameter"),
        ({"input": [{"id": "msg_1"}]}, "/input/0", "unsupported_parameter"),
        ({"previous_response_id": "resp_1"}, "/previous_response_id", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "/conversation", "unsupported_parameter"),
        ({"prompt": {"id": "pmpt_1"}}, "/prompt", "unsupported_parameter"),
        ({"previousResponseId": "resp_1"}, "/previousResponseId", "invalid_value"),
        ({"Store": True}, "/Store", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "/tools/0/type", "unpriced_param"),
        ({"tools": [{"type": "mcp"}]}, "/tools/0/type", "unpriced_param"),
        ({"service_tier": "priority"}, "/service_tier", "unpriced_param"),
        ({"max_output_tokens": 0}, "/max_output_tokens", "invalid_value"),
        ({"include": "all"}, "/include", "invalid_value"),
        ({"text": "json"}, "/text", "invalid_value"),
    ],
)
def test_a_body_of_responses_is_validated(fields: dict[str, Any], place: str, code: str) -> None:
    assert refused(RESPONSES, **fields) == (place, code)


@pytest.mark.parametrize("given", ["a", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_every_form_of_the_input_of_embeddings_is_taken(given: object) -> None:
    body = {"input": given, "encoding_format": "base64", "dimensions": 8, "user": "ann"}

    assert parsed(EMBEDDINGS, body).request.body == body


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        ({"input": None}, "/input", "invalid_value"),
        ({"input": ""}, "/input", "blank_text"),
        ({"input": 7}, "/input", "invalid_value"),
        ({"input": []}, "/input", "invalid_value"),
        ({"input": ["a", ""]}, "/input/1", "blank_text"),
        ({"input": ["a", [1]]}, "/input/1", "invalid_value"),
        ({"input": [{"a": 1}]}, "/input/0", "invalid_value"),
        ({"input": [True]}, "/input/0", "invalid_value"),
        ({"input": [1, -1]}, "/input/1", "invalid_value"),
        ({"input": [1, 0.5]}, "/input/1", "invalid_value"),
        ({"input": [[1], []]}, "/input/1", "invalid_value"),
        ({"input": [[1], [True]]}, "/input/1/0", "invalid_value"),
        ({"input": ["a"] * 2_049, "dimensions": 1}, "/input", "invalid_value"),
        ({"encoding_format": "hex"}, "/encoding_format", "invalid_value"),
        ({"dimensions": 0}, "/dimensions", "invalid_value"),
        ({"encodingFormat": "float"}, "/encodingFormat", "invalid_value"),
    ],
)
def test_a_body_of_embeddings_is_validated(fields: dict[str, Any], place: str, code: str) -> None:
    assert refused(EMBEDDINGS, **fields) == (place, code)


@pytest.mark.parametrize(
    ("params", "most"), [({}, 190), ({"encoding_format": "base64"}, 604), ({"dimensions": 256}, 1_128)]
)
def test_as_many_inputs_are_taken_as_a_response_has_room_for(params: dict[str, Any], most: int) -> None:
    parsed(EMBEDDINGS, {"input": ["a"] * most, **params})

    assert refused(EMBEDDINGS, input=["a"] * (most + 1), **params) == ("/input", "too_many_inputs")


def test_the_largest_embeddings_that_are_taken_fit_a_response() -> None:
    longest = -1.17549435e-38
    data = [{"object": "embedding", "embedding": [longest] * 1_536, "index": index} for index in range(190)]

    assert size_of({"response": {"object": "list", "data": data}}) <= MOST_ANSWER_BYTES
