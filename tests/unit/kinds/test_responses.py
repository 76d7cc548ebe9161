"""A response is read from its stream or its body, and kept as the provider sent it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from openai.types.responses import Response

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.request import Kind
from common.domain.task import Answer, FailureCode, ToolCall, ToolKind, Usage
from common.kinds.responses import upstream
from common.kinds.responses.estimates import answer_tokens, prompt_tokens
from common.kinds.tokens import MEDIA_TOKENS
from tests.unit.kinds.reading import SIZES, answer_to, shown, sse

REQUEST = {"input": "Hello"}
USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 18,
}
HEAD = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_800_000_000,
    "model": "gpt-5-mini-2026-01-01",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "error": None,
    "incomplete_details": None,
    "x_unknown": {"cluster": 7},
}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "dig", "arguments": "{}"}
CUSTOM = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_2", "name": "sql", "input": "select 1"}


def text(*texts: str) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": each, "annotations": [], "logprobs": []} for each in texts]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": parts}


def refused(words: str) -> dict[str, Any]:
    return {**text(), "content": [{"type": "refusal", "refusal": words}]}


def response(*output: Mapping[str, Any], status: str = "completed", **fields: object) -> dict[str, Any]:
    return {**HEAD, "status": status, "output": list(output), "usage": USAGE, **fields}


def whole(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def streamed(body: Mapping[str, Any]) -> bytes:
    """Send a response as its events, the text in two deltas."""
    begin = {**body, "status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begin},
        {"type": "response.in_progress", "response": begin},
    ]
    for index, item in enumerate(body["output"]):
        place = {"output_index": index, "item_id": item.get("id")}
        events.append({"type": "response.output_item.added", "item": item, **place})
        for part in item.get("content", ()):
            words = part.get("text") or part.get("refusal") or ""
            name = "output_text" if "text" in part else "refusal"
            half = len(words) // 2
            events += [{"type": f"response.{name}.delta", "delta": each} for each in (words[:half], words[half:])]
            events.append({"type": f"response.{name}.done", name.removeprefix("output_"): words})
        if "arguments" in item:
            events.append({"type": "response.function_call_arguments.delta", "delta": item["arguments"], **place})
        events.append({"type": "response.output_item.done", "item": item, **place})
    events.append({"type": f"response.{body['status']}", "response": body})
    return sse(*({**each, "sequence_number": number} for number, each in enumerate(events)))


def read(data: bytes, *, size: int = 100_000, pieces: list[str] | None = None) -> Answer:
    return answer_to(Kind.RESPONSES, REQUEST, data, size=size, pieces=pieces)


type Send = Callable[[Mapping[str, Any]], bytes]

both_ways = pytest.mark.parametrize("send", [streamed, whole])


@pytest.mark.parametrize("size", SIZES)
@both_ways
def test_a_response_is_read_and_shown_as_the_provider_sent_it(send: Send, size: int) -> None:
    body = response(REASONING, text("Hello world"))

    answer = read(send(body), size=size)

    assert answer == Answer("Hello world", "stop", Usage(11, 7, 18, 4))
    assert shown(Kind.RESPONSES, answer) == body
    Response.model_validate(shown(Kind.RESPONSES, answer), strict=True)


@pytest.mark.parametrize("send", [streamed, whole])
@pytest.mark.parametrize(
    "output",
    [
        pytest.param([text("One"), text("Two")], id="two-messages"),
        pytest.param([text("One", "Two")], id="two-parts"),
        pytest.param([text("One"), CALL, {"type": "of_tomorrow", "x": [1]}], id="unknown-item"),
    ],
)
def test_no_part_of_the_output_is_lost(send: Send, output: list[dict[str, Any]]) -> None:
    body = response(*output)

    assert shown(Kind.RESPONSES, read(send(body))) == body


def test_a_text_of_one_part_is_stored_once() -> None:
    answer = read(streamed(response(text("Hello world"))))

    assert "Hello world" not in json.dumps(answer.response)


def test_the_deltas_of_a_stream_are_handed_over_as_they_come() -> None:
    pieces: list[str] = []

    read(streamed(response(text("Hello world"))), pieces=pieces)

    assert pieces == ["Hello", " world"]


def test_the_text_of_a_whole_body_is_handed_over_at_once() -> None:
    pieces: list[str] = []

    read(whole(response(text("Hello world"))), pieces=pieces)

    assert pieces == ["Hello world"]


@both_ways
def test_tool_calls_are_read_from_the_items(send: Send) -> None:
    answer = read(send(response(REASONING, CALL, CUSTOM)))

    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (
        ToolCall("call_1", "dig", "{}"),
        ToolCall("call_2", "sql", "select 1", ToolKind.CUSTOM),
    )


@both_ways
def test_a_refusal_of_the_model_is_an_answer(send: Send) -> None:
    answer = read(send(response(refused("I cannot"))))

    assert (answer.text, answer.refusal, answer.finish_reason) == ("", "I cannot", "stop")


@both_ways
def test_a_response_that_was_cut_at_its_limit_is_truncated(send: Send) -> None:
    details = {"reason": "max_output_tokens"}

    answer = read(send(response(text("Hel"), status="incomplete", incomplete_details=details)))

    assert (answer.text, answer.finish_reason) == ("Hel", "length")


@both_ways
def test_a_response_that_a_filter_withheld_is_refused_with_its_usage_and_the_text_so_far(send: Send) -> None:
    pieces: list[str] = []
    body = response(text("Hel"), status="incomplete", incomplete_details={"reason": "content_filter"})

    with pytest.raises(ModelRefused) as refused:
        read(send(body), pieces=pieces)

    assert (refused.value.code, refused.value.usage) == (FailureCode.CONTENT_POLICY, Usage(11, 7, 18, 4))
    assert "".join(pieces) == "Hel"


@both_ways
def test_an_answer_of_reasoning_alone_has_no_content(send: Send) -> None:
    with pytest.raises(ModelFailed) as failed:
        read(send(response(REASONING)))

    assert failed.value.code is FailureCode.NO_CONTENT


@both_ways
@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("server_error", ModelFailed, FailureCode.SERVER_ERROR),
        ("rate_limit_exceeded", ModelFailed, FailureCode.RATE_LIMITED),
        ("invalid_prompt", ModelRefused, FailureCode.BAD_REQUEST),
        ("invalid_image_url", ModelRefused, FailureCode.BAD_REQUEST),
        ("image_content_policy_violation", ModelRefused, FailureCode.CONTENT_POLICY),
        ("of_tomorrow", ModelFailed, FailureCode.SERVER_ERROR),
    ],
)
def test_a_response_that_failed_is_classified_by_its_code(
    send: Send, code: str, kind: type[ModelError], expected: FailureCode
) -> None:
    body = response(text("Hel"), status="failed", error={"code": code, "message": "secret"})

    with pytest.raises(kind) as failed:
        read(send(body))

    assert failed.value.code is expected
    assert failed.value.usage == Usage(11, 7, 18, 4)
    assert failed.value.provider_error is not None
    assert failed.value.provider_error.code == code


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
    ],
)
def test_an_error_event_before_the_model_began_costs_no_attempt(event: dict[str, Any]) -> None:
    with pytest.raises(ModelBusy) as busy:
        read(sse({"type": "response.created", "response": response(status="queued", usage=None)}, event))

    assert busy.value.code is FailureCode.RATE_LIMITED


def test_an_error_event_after_the_model_began_costs_an_attempt() -> None:
    begun = {"type": "response.output_text.delta", "delta": "Hel"}

    with pytest.raises(ModelFailed):
        read(sse(begun, {"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", FailureCode.STREAM_CUT, id="nothing"),
        pytest.param(
            sse({"type": "response.output_text.delta", "delta": "Hel"}) + b"data: [DONE]\n\n",
            FailureCode.STREAM_CUT,
            id="no-last-event",
        ),
        pytest.param(whole(response(status="in_progress")), FailureCode.UNREADABLE_ANSWER, id="a-body-in-progress"),
        pytest.param(whole(response(status="cancelled")), FailureCode.STREAM_CUT, id="cancelled"),
        pytest.param(b"<html>", FailureCode.UNREADABLE_ANSWER, id="html"),
        pytest.param(b'{"choices": []}', FailureCode.UNREADABLE_ANSWER, id="another-endpoint"),
        pytest.param(
            whole(response({"type": "function_call"})), FailureCode.UNREADABLE_ANSWER, id="a-call-without-a-name"
        ),
    ],
)
def test_what_is_no_whole_response_is_a_failure(data: bytes, code: FailureCode) -> None:
    with pytest.raises(ModelFailed) as failed:
        read(data)

    assert failed.value.code is code


def test_items_that_the_last_event_leaves_out_are_those_sent_before() -> None:
    body = response(text("Hello"))
    events = sse(
        {"type": "response.output_item.done", "item": body["output"][0], "output_index": 0},
        {"type": "response.completed", "response": {**body, "output": []}},
    )

    assert shown(Kind.RESPONSES, read(events)) == body


def test_a_text_that_is_too_large_to_be_kept_is_refused_with_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MOST_ANSWER_BYTES", 10)

    with pytest.raises(ModelRefused) as refused:
        read(streamed(response(text("Hello world"))))

    assert (refused.value.code, refused.value.usage) == (FailureCode.ANSWER_TOO_LARGE, Usage(11, 7, 18, 4))


def test_the_request_is_streamed_and_not_stored_at_the_provider() -> None:
    sent = json.loads(upstream.encode("gpt-5-mini", {"input": "Hello", "model": "other", "store": True}))

    assert sent == {"input": "Hello", "model": "gpt-5-mini", "stream": True, "store": False}


def test_text_that_no_request_can_carry_is_refused() -> None:
    with pytest.raises(ModelRefused):
        upstream.encode("gpt-5-mini", {"input": "\ud800"})


def test_an_image_counts_as_tokens_and_not_as_its_bytes() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}
    words = {"type": "input_text", "text": "What is this?"}
    alone = {"input": [{"role": "user", "content": [words]}]}

    with_image = {"input": [{"role": "user", "content": [words, image]}]}

    assert prompt_tokens(with_image) == prompt_tokens(alone) + MEDIA_TOKENS


def test_the_prompt_is_the_input_with_what_a_provider_puts_before_the_model() -> None:
    alone = prompt_tokens({"input": "Hello"})

    assert prompt_tokens({"input": "Hello", "instructions": "x" * 400}) >= alone + 100
    assert prompt_tokens({"input": "Hello", "metadata": {"a": "x" * 400}}) == alone


def test_the_answer_is_estimated_by_its_limit() -> None:
    assert answer_tokens({"max_output_tokens": 50}, None) == 50
    assert answer_tokens({"max_output_tokens": 50}, 20) == 20
