"""The response that is kept is the provider's own object, whichever way it came and whatever fields it has."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from common.kinds.chat.views import full_response
from tests.unit.worker.completions import COUNTS, DONE, answer_in

USAGE: Final = {
    **COUNTS,
    "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 0},
    "queue_time": 0.25,
}
TOKEN: Final = {"token": "Hello", "logprob": -0.1, "bytes": [72], "top_logprobs": []}
WORLD: Final = TOKEN | {"token": " world"}
HEAD: Final = {
    "id": "chatcmpl-1",
    "created": 1_800_000_000,
    "model": "gpt-5-mini-2026-01-01",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "x_unknown": {"cluster": 7},
}
CITATION: Final = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
WHOLE: Final = {
    **HEAD,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello world",
                "refusal": None,
                "annotations": [CITATION],
                "reasoning_content": "Let me think",
                "reasoning_details": [{"type": "reasoning.text", "text": "Let me think", "index": 0}],
                "audio": {"id": "a", "transcript": "Hello world"},
            },
            "logprobs": {"content": [TOKEN, WORLD], "refusal": None},
            "finish_reason": "stop",
            "content_filter_results": {"hate": {"filtered": False}},
        }
    ],
    "usage": USAGE,
}


def chunk(delta: Mapping[str, Any], finish: str | None = None, **choice: object) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish, **choice}]
    return {**HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": None, "obfuscation": "xyz"}


CHUNKS: Final = [
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk(
        {"reasoning_content": "Let me", "reasoning_details": [{"type": "reasoning.text", "text": "Let me", "index": 0}]}
    ),
    chunk(
        {"reasoning_content": " think", "reasoning_details": [{"type": "reasoning.text", "text": " think", "index": 0}]}
    ),
    chunk(
        {"content": "Hello", "audio": {"id": "a", "transcript": "Hello"}},
        logprobs={"content": [TOKEN], "refusal": None},
    ),
    chunk({"content": " world", "audio": {"transcript": " world"}}, logprobs={"content": [WORLD], "refusal": None}),
    chunk({"annotations": [CITATION]}),
    chunk({}, "stop", content_filter_results={"hate": {"filtered": False}}),
    {**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
]


def streamed(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks) + DONE


def kept(data: bytes) -> dict[str, Any]:
    """Return the response as it can be read after it was kept as JSON."""
    answer = answer_in(data)
    assert answer.response is not None
    return full_response(json.loads(json.dumps(answer.response)), answer.text)


@pytest.mark.parametrize("data", [json.dumps(WHOLE).encode(), streamed(CHUNKS)], ids=["whole", "streamed"])
def test_every_field_of_the_provider_is_kept(data: bytes) -> None:
    assert kept(data) == WHOLE


def test_the_assembled_response_is_what_the_sdk_assembles() -> None:
    state = ChatCompletionStreamState()
    # The SDK loses a choice's unknown fields behind its first event, and merges some lists of unknown fields otherwise.
    lost = ("reasoning_details", "content_filter_results")
    chunks = [each for each in CHUNKS if not any(name in str(each) for name in lost)] + [chunk({}, "stop"), CHUNKS[-1]]
    for each in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(each))
    by_the_sdk = state.current_completion_snapshot.to_dict()

    ours = kept(streamed(chunks))

    assert without_nulls(ours) == without_nulls(by_the_sdk)


def without_nulls(value: object) -> object:
    """Leave out what is null: the SDK's types add every field that they know."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None and name != "parsed"}
    return list(map(without_nulls, value)) if isinstance(value, list) else value


def test_the_text_is_kept_once() -> None:
    answer = answer_in(streamed(CHUNKS))

    assert "Hello world" not in json.dumps([choice["message"].get("content") for choice in answer.response["choices"]])  # type: ignore[index]
    assert answer.text == "Hello world"


def test_every_choice_is_kept_and_the_first_is_the_result() -> None:
    choices = [
        {"index": place, "message": {"role": "assistant", "content": text, "refusal": None}, "logprobs": None,
         "finish_reason": "stop"}
        for place, text in enumerate(["one", "two"])
    ]  # fmt: skip
    whole = {**HEAD, "object": "chat.completion", "choices": choices}
    chunks = [
        {**HEAD, "object": "chat.completion.chunk",
         "choices": [{"index": each["index"], "delta": each["message"], "finish_reason": "stop"} for each in choices]}
    ]  # fmt: skip

    for data in (json.dumps(whole).encode(), streamed(chunks)):
        assert answer_in(data).text == "one"
        assert kept(data) == whole
        assert len(ChatCompletion.model_validate(kept(data), strict=True).choices) == len(choices)


def test_the_fields_of_a_tool_call_that_no_protocol_names_are_kept() -> None:
    signed = {"google": {"thought_signature": "abc"}}
    function = {"name": "weather", "arguments": '{"city": "Bonn"}'}
    call = {"id": "c1", "type": "function", "function": function, "extra_content": signed}
    first = {"index": 0, **call, "function": {"name": "weather", "arguments": '{"city"'}}
    rest = {"index": 0, "function": {"arguments": ': "Bonn"}'}}

    response = kept(streamed([chunk({"tool_calls": [first]}), chunk({"tool_calls": [rest]}), chunk({}, "tool_calls")]))

    [choice] = response["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}


def test_a_content_in_parts_is_kept_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hello"}]
    message = {"role": "assistant", "content": parts}
    whole = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    [choice] = kept(json.dumps(whole).encode())["choices"]

    assert choice["message"]["content"] == parts
    assert answer_in(json.dumps(whole).encode()).text == "Hello"


def test_a_list_of_strings_stays_one() -> None:
    message = {"role": "assistant", "content": "Hello", "images": ["a", "b"]}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    [choice] = kept(json.dumps(whole).encode())["choices"]

    assert choice["message"]["images"] == ["a", "b"]
