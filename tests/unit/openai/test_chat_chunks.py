"""A replayed stream carries the whole completion: the SDK's own accumulation gives it back."""

import json
from typing import Any, Final

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from functions.openai.chat_chunks import MOST_PIECES, chunks_of, replay

USAGE: Final = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
LOGPROB: Final = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
CALLS: Final = [
    {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 2}'}},
]


def completion(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small",
        "choices": list(choices),
        "usage": USAGE,
        **fields,
    }


def choice(
    index: int = 0, *, finish_reason: str = "stop", logprobs: object = None, **message: object
) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": None, "refusal": None, **message},
        "finish_reason": finish_reason,
        "logprobs": logprobs,
    }


@pytest.mark.parametrize(
    "whole",
    [
        completion(choice(content="Hi")),
        completion(choice(content="Hi " * 5_000)),
        completion(choice(content="😀" * 100)),
        completion(choice(content="")),
        completion(choice(content="one"), choice(1, content="two"), choice(2, content="three")),
        completion(choice(finish_reason="tool_calls", tool_calls=CALLS)),
        completion(choice(content="Let me look.", finish_reason="tool_calls", tool_calls=CALLS)),
        completion(choice(refusal="I can't help with that.")),
        completion(choice(content="Hi", logprobs={"content": [LOGPROB, LOGPROB], "refusal": None})),
        completion(choice(content="Hi"), service_tier="default", system_fingerprint="fp_1"),
    ],
    ids=["text", "long", "emoji", "empty", "choices", "tools", "text and tools", "refusal", "logprobs", "fields"],
)
def test_the_chunks_of_a_completion_accumulate_to_it(whole: dict[str, Any]) -> None:
    state = ChatCompletionStreamState()
    for chunk in chunks_of(whole, includes_usage=True):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True))
    found = state.get_final_completion().model_dump(exclude_none=True)

    for given, made in zip(whole["choices"], found["choices"], strict=True):
        message, expected = made["message"], {name: v for name, v in given["message"].items() if v is not None}
        for call in message.get("tool_calls", []):
            call.pop("index")
            call["function"].pop("parsed_arguments", None)
        message.pop("parsed", None)
        # A stream opens with an empty text.
        assert message == {"content": "", **expected}
        assert (made["index"], made["finish_reason"]) == (given["index"], given["finish_reason"])
        logprobs = given["logprobs"]
        assert made.get("logprobs") == (logprobs and {"content": logprobs["content"]})
    assert found["usage"] == USAGE
    for name in ("id", "created", "model", "service_tier", "system_fingerprint"):
        assert found.get(name) == whole.get(name)


def test_unknown_fields_are_replayed_once() -> None:
    whole = completion(
        {**choice(content="Hi", reasoning_content="think " * 100, annotations=[{"x": 1}]), "native_reason": "eos"},
        provider="p",
    )

    chunks = list(chunks_of(whole, includes_usage=False))

    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "think " * 100
    assert [delta["annotations"] for delta in deltas if "annotations" in delta] == [[{"x": 1}]]
    assert [chunk["provider"] for chunk in chunks if "provider" in chunk] == ["p"]
    assert chunks[-1]["choices"][0]["native_reason"] == "eos"


def test_the_role_is_first_and_the_finish_reason_last() -> None:
    chunks = list(chunks_of(completion(choice(content="Hi")), includes_usage=False))

    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]


def test_usage_comes_only_where_the_caller_wants_it() -> None:
    whole = completion(choice(content="Hi"))

    without, with_usage = (list(chunks_of(whole, includes_usage=wants)) for wants in (False, True))

    assert not any("usage" in chunk for chunk in without)
    assert [chunk["usage"] for chunk in with_usage] == [None] * len(without) + [USAGE]
    assert with_usage[-1]["choices"] == []


def test_a_text_is_cut_into_a_bounded_number_of_pieces() -> None:
    chunks = list(chunks_of(completion(choice(content="x" * 1_000_000)), includes_usage=False))

    assert len(chunks) <= MOST_PIECES + 2


def test_the_events_are_closed_by_done() -> None:
    events = replay(completion(choice(content="a\nb")), includes_usage=True).split("\n\n")

    assert events[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(event.removeprefix("data: "))["object"] == "chat.completion.chunk" for event in events[:-2])
