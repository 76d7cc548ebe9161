"""Answers as servers and gateways really send them: what is passed over, what is refused, and what is billed."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.task import Answer, FailureCode, ToolCall, Usage
from common.worker import completion, completion_stream
from common.worker.completion import CompletionAccumulator
from common.worker.completion_stream import GRACE_SECONDS, LEAD_SECONDS, REST_SECONDS, read_completion
from tests.unit.worker.completions import (
    COUNTS,
    DONE,
    END,
    HELLO,
    ROLE,
    SILENCE,
    USAGE,
    Part,
    Send,
    answer_in,
    both_ways,
    delta,
    error_in,
    event,
    piece,
    sent,
    streamed,
    timed,
    whole,
)
from tests.unit.worker.virtual_time import VirtualTimeLoop

BOM = b"\xef\xbb\xbf"
TOO_FAST = {"error": {"code": "rate_limit_exceeded"}}
FULL = Answer("Hello", "stop", Usage(3, 2, 5))


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# ─── The bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BOM + HELLO + END + DONE, id="byte-order-mark"),
        pytest.param(BOM + b": hello\n\n" + HELLO + END + DONE, id="byte-order-mark-and-comment"),
        pytest.param(BOM + b"\n" + HELLO + END + DONE, id="byte-order-mark-alone"),
        pytest.param(b"foo: bar\nx-trace:1\n" + HELLO + END + DONE, id="unknown-fields"),
        pytest.param(b"retry: 3\nid: 1\nevent: message\n" + HELLO + END + DONE, id="known-fields"),
        pytest.param(HELLO + b"data\n\n" + END + DONE, id="bare-data"),
        pytest.param(HELLO + b"data\ndata:\n\n" + END + DONE, id="empty-lines-of-data"),
        pytest.param(b"data\n" + HELLO + END + DONE, id="bare-data-before-data"),
        pytest.param(HELLO + b"data:\n\ndata: \n\n" + END + DONE, id="empty-data"),
        pytest.param((HELLO + END + DONE).replace(b"\n", b"\r\n"), id="line-ends-of-two"),
        pytest.param((HELLO + END + DONE).replace(b"\n\n", b"\n"), id="no-empty-lines"),
        pytest.param((HELLO + END + DONE).replace(b'"choices"', b'\ndata: "choices"'), id="data-of-two-lines"),
        pytest.param(b" \r\n  " + HELLO + END + DONE, id="space-before-it"),
        pytest.param(HELLO + END + event(choices=None) + DONE, id="no-choices-after-the-end"),
        pytest.param(piece("Hello", index=None) + END + DONE, id="no-index"),
        pytest.param(b"\n\n" + whole({"content": "Hello"}) + b"\n", id="whole-after-keep-alives"),
        pytest.param(BOM + whole({"content": "Hello"}), id="whole-with-a-byte-order-mark"),
        pytest.param(HELLO.removeprefix(b"data: ") + END.removeprefix(b"data: "), id="lines-of-json"),
    ],
)
def test_what_is_no_part_of_the_answer_is_passed_over(data: bytes, size: int) -> None:
    assert answer_in(*split(data, size)) == Answer("Hello", "stop")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<html>hello</html>\n\n", id="no-fields"),
        pytest.param(b'<html style="color: red">hello</html>\n\n', id="html-with-a-colon"),
        pytest.param(b"upstream error: timed out", id="a-sentence"),
        pytest.param(b'[{"error": {"code": 500}}]', id="a-list"),
        pytest.param(b"\x1f\x8b\x08\x00:\n\xff", id="not-decoded"),
        pytest.param((HELLO + END + DONE).replace(b"\n", b"\r"), id="line-ends-of-a-carriage-return"),
        pytest.param(b"data: {half\n\n", id="cut-json"),
        pytest.param(b"data: null\n\n", id="null"),
        pytest.param(HELLO + b"data: null\n\n" + END, id="null-within"),
        pytest.param(b"data: \xff{}\n\n", id="no-utf-8"),
        pytest.param(b"data: " + b"[" * 200_000 + b"\n\n", id="too-deep"),
        pytest.param(b"{" + b'"a": {' * 200_000, id="whole-too-deep"),
        pytest.param(b'{"choices": [{"mess', id="whole-cut"),
        pytest.param(b'{"id": 1}', id="whole-without-choices"),
        pytest.param(b'{"choices": null}', id="whole-with-choices-null"),
        pytest.param(event(choices={"index": 0}), id="choices-as-an-object"),
        pytest.param(event(choices=["x"]), id="choices-of-text"),
        pytest.param(event(choices=[{"delta": "x"}]), id="delta-as-text"),
        pytest.param(piece(1), id="content-as-a-number"),
    ],
)
def test_what_is_no_answer_is_unreadable(data: bytes) -> None:
    caught = error_in(data)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.UNREADABLE_ANSWER)


@pytest.mark.parametrize("data", [b"", b"\n\n", HELLO, ROLE + DONE, event(choices=[]) + DONE, b'{"choices": []}'])
def test_what_ends_before_its_answer_is_cut(data: bytes) -> None:
    caught = error_in(data)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.STREAM_CUT)


@pytest.mark.parametrize("size", [100, 10_000])
@pytest.mark.parametrize("data", [piece("x" * 2000), b'{"padding": "' + b"x" * 2000])
def test_an_answer_without_end_is_given_up_for_good(monkeypatch: pytest.MonkeyPatch, data: bytes, size: int) -> None:
    monkeypatch.setattr(completion_stream, "MAX_STREAM_BYTES", 1000)
    monkeypatch.setattr(completion_stream, "MAX_BODY_BYTES", 1000)

    caught = error_in(*split(data, size))

    assert (type(caught), caught.code) == (ModelRefused, FailureCode.ANSWER_TOO_LARGE)


# An answer of 300 characters, where 200 are kept

TEXT = piece("x" * 150) * 2
CALLS = delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "x" * 150}}]) * 2
LONG = {
    "text": TEXT,
    "arguments": CALLS,
    "both": piece("x" * 150) + CALLS[: len(CALLS) // 2],
    "logprobs-beside": piece("x" * 300, logprobs={"content": []}),
}


@pytest.mark.parametrize("data", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    "rest", [(END, USAGE, DONE), (USAGE, END), (END, USAGE, OSError("reset")), (USAGE, OSError("reset")), (USAGE,)]
)
def test_of_an_answer_that_is_too_large_its_usage_is_read(
    monkeypatch: pytest.MonkeyPatch, data: bytes, rest: tuple[Part, ...]
) -> None:
    monkeypatch.setattr(completion, "MOST_ANSWER_BYTES", 200)
    monkeypatch.setattr(completion_stream, "MAX_STREAM_BYTES", 100_000)
    pieces: list[str] = []

    with pytest.raises(ModelRefused) as caught:
        answer_in(data, *rest, pieces=pieces)

    assert (caught.value.code, caught.value.usage) == (FailureCode.ANSWER_TOO_LARGE, Usage(3, 2, 5))
    assert pieces, "its tokens are counted all the same"


@both_ways
def test_an_answer_that_is_just_not_too_large_is_one(monkeypatch: pytest.MonkeyPatch, send: Send) -> None:
    monkeypatch.setattr(completion, "MOST_ANSWER_BYTES", 200)

    assert answer_in(send({"content": "x" * 200})) == Answer("x" * 200, "stop")
    assert error_in(send({"content": "x" * 201}, usage=COUNTS)).usage == Usage(3, 2, 5)


def test_an_answer_that_is_too_large_and_goes_on_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "MOST_ANSWER_BYTES", 200)
    parts: list[Part] = [part for _ in range(100) for part in (piece("x" * 10), 1.0)]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        with pytest.raises(ModelRefused) as caught:
            runner.run(read_completion(sent(tuple(parts)), lambda _: None))
        ended = runner.get_loop().time()

    assert (caught.value.code, caught.value.usage) == (FailureCode.ANSWER_TOO_LARGE, None)
    assert ended == 20 + REST_SECONDS


def test_a_body_whose_pieces_end_in_braces_is_still_one_answer() -> None:
    text = "}" * 50

    assert answer_in(*split(whole({"content": text}), 1)).text == text


# ─── Events without choices ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"id": "x", "choices": None}, id="choices-null"),
        pytest.param({"id": "x", "object": "chat.completion.chunk"}, id="no-choices"),
        pytest.param({"choices": [], "prompt_filter_results": []}, id="no-choice"),
        pytest.param({"type": "ping"}, id="ping"),
        pytest.param({"usage": {"prompt_tokens": 3}}, id="partial-usage"),
    ],
)
@pytest.mark.parametrize("place", range(5))
def test_events_without_choices_are_passed_over_wherever_they_come(extra: dict[str, object], place: int) -> None:
    events = [ROLE, HELLO, END, USAGE, DONE]
    events.insert(place, event(**extra))

    assert answer_in(*events) == FULL


def test_an_answer_that_has_no_choices_at_all_is_unreadable() -> None:
    ping = event(id="x")

    assert error_in(ping, ping, event(usage=COUNTS), DONE).code is FailureCode.UNREADABLE_ANSWER


@pytest.mark.parametrize("index", [0, 1, None])
def test_only_the_first_of_several_choices_is_kept(index: int | None) -> None:
    other = event(choices=[{"index": 7, "delta": {"content": "other"}, "finish_reason": "length"}])
    text, end = piece("Hello", index=index), event(choices=[{"index": index, "delta": {}, "finish_reason": "stop"}])

    assert answer_in(text, other, end, DONE) == Answer("Hello", "stop")


# ─── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        pytest.param((END, USAGE, SILENCE), FULL, id="no-done"),
        pytest.param((END, SILENCE), Answer("Hello", "stop"), id="no-usage"),
        pytest.param((END[:-1], SILENCE), Answer("Hello", "stop"), id="no-empty-line-after-the-finish-reason"),
        pytest.param((END, USAGE[:-1], SILENCE), FULL, id="no-empty-line-after-the-usage"),
        pytest.param((END, USAGE[:-9], SILENCE), Answer("Hello", "stop"), id="half-a-usage"),
        pytest.param((END, 1.0, USAGE, SILENCE), FULL, id="a-late-usage"),
        pytest.param((END, USAGE, *(b": ping\n\n", 0.5) * 100), FULL, id="pings-without-end"),
        pytest.param((END, USAGE, *(USAGE, 0.5) * 100), FULL, id="usages-without-end"),
    ],
)
def test_an_answer_is_kept_shortly_after_its_finish_reason_though_the_connection_stays_open(
    parts: tuple[Part, ...], answer: Answer
) -> None:
    assert timed(HELLO, 30.0, *parts) == (answer, 30.0 + GRACE_SECONDS)


def test_a_body_is_kept_shortly_after_its_end_though_the_connection_stays_open() -> None:
    body = whole({"content": "Hello"}, usage=COUNTS)

    assert timed(*split(body, 7), SILENCE) == (FULL, GRACE_SECONDS)
    assert timed(*split(whole({"content": "Hello"}, None), 7), SILENCE) == (Answer("Hello", None), GRACE_SECONDS)


@pytest.mark.parametrize("end", [DONE, b"data: [DONE]\n", b"data:[DONE]\n", b'data: "[DONE]"\n', b"data: [done]\n"])
def test_an_answer_that_says_that_it_is_done_is_not_waited_for(end: bytes) -> None:
    assert timed(HELLO, END, USAGE, end, SILENCE) == (FULL, 0.0)


def test_text_after_a_finish_reason_belongs_to_the_answer() -> None:
    finished = [piece(word, finish="stop") for word in ("some", " servers", " finish", " each", " piece")]

    answer = answer_in(*(part for each in finished for part in (each, 0.75 * GRACE_SECONDS)), SILENCE)

    assert answer.text == "some servers finish each piece"


def test_the_wait_for_the_usage_ends_before_the_call_does() -> None:
    assert timed(9.5, HELLO, END, SILENCE, ends_at=10.0) == (Answer("Hello", "stop"), 10.0 - LEAD_SECONDS)
    assert timed(10.0 - LEAD_SECONDS / 2, HELLO, END, SILENCE, ends_at=10.0)[0] == Answer("Hello", "stop")


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"data: null\n\n", id="null"),
        pytest.param(b'data: "thanks"\n\n', id="text"),
        pytest.param(b'data: {"x\n\n', id="cut-json"),
        pytest.param(b"data: \xff\n\n", id="no-utf-8"),
        pytest.param(b"</html>\n\n", id="html"),
        pytest.param(event(error={"message": "logging failed", "code": 500}), id="an-error"),
        pytest.param(b'event: error\ndata: {"code": 500}\n\n', id="an-error-event"),
        pytest.param(event(choices="none"), id="choices-as-text"),
        pytest.param(delta(content=7), id="content-as-a-number"),
        pytest.param(delta(tool_calls="none"), id="tool-calls-as-text"),
        pytest.param(delta("error"), id="a-fault-as-finish-reason"),
        pytest.param(event(choices=[], usage={"prompt_tokens": "many"}), id="no-usage"),
    ],
)
def test_nothing_that_comes_after_the_finish_reason_takes_the_answer_away(tail: bytes) -> None:
    assert answer_in(HELLO, END, tail, USAGE, DONE) == FULL
    assert answer_in(HELLO, END, USAGE, tail) == FULL


@pytest.mark.parametrize("tail", [b"</html>", b"null", b'{"x', b"\xff", b'{"error": {"code": 500}}'])
def test_nothing_that_comes_after_a_whole_body_takes_the_answer_away(tail: bytes) -> None:
    body = whole({"content": "Hello"}, usage=COUNTS)

    assert answer_in(body, tail) == FULL
    assert answer_in(body + tail) == FULL


@pytest.mark.parametrize("error", [OSError(), ValueError(), ModelFailed(FailureCode.CONNECTION), TimeoutError()])
def test_nothing_that_the_connection_raises_after_the_finish_reason_takes_the_answer_away(error: Exception) -> None:
    assert answer_in(HELLO, END, error) == Answer("Hello", "stop")
    assert answer_in(whole({"content": "Hello"}), error) == Answer("Hello", "stop")


def test_what_the_connection_raises_before_the_finish_reason_is_raised() -> None:
    with pytest.raises(OSError, match="reset"):
        answer_in(HELLO, OSError("reset"))


def test_what_is_too_long_only_after_its_finish_reason_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_stream, "MAX_STREAM_BYTES", 1000)

    assert answer_in(HELLO, END, b":" * 2000) == Answer("Hello", "stop")


@pytest.mark.parametrize("finish", [None, ""])
def test_text_that_ends_with_done_is_an_answer_without_a_finish_reason(finish: str | None) -> None:
    assert answer_in(HELLO, delta(finish), USAGE, DONE) == Answer("Hello", None, Usage(3, 2, 5))
    assert answer_in(whole({"content": "Hello"}, finish)) == Answer("Hello", None)


def test_tool_calls_that_end_with_done_are_an_answer_without_a_finish_reason() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}

    assert answer_in(delta(tool_calls=[call]), DONE) == Answer("", None, None, (ToolCall("a", "weather", "{}"),))


def test_a_later_verdict_of_the_content_filter_takes_the_answer_back() -> None:
    assert error_in(HELLO, END, delta("content_filter"), DONE).code is FailureCode.CONTENT_POLICY


# ─── The text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}


@both_ways
@pytest.mark.parametrize(
    "content",
    [
        pytest.param([{"type": "text", "text": "Hello"}], id="one-part"),
        pytest.param([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], id="two-parts"),
        pytest.param([THINKING, {"type": "text", "text": "Hello"}], id="thinking-and-text"),
        pytest.param([{"type": "text", "text": "Hello"}, {"type": "reference", "reference_ids": [1]}], id="reference"),
        pytest.param([{"text": "Hello"}], id="without-a-type"),
        pytest.param(["Hel", "lo"], id="texts"),
        pytest.param({"type": "text", "text": "Hello"}, id="a-part-alone"),
    ],
)
def test_the_text_of_content_parts_is_the_answer(send: Send, content: object) -> None:
    pieces: list[str] = []

    assert answer_in(send({"content": content}, usage=COUNTS), pieces=pieces) == FULL
    assert pieces == ["Hello"]


def test_parts_and_texts_may_follow_each_other() -> None:
    parts = [piece([THINKING]), piece([{"type": "text", "text": "Hel"}]), piece("lo")]

    assert answer_in(ROLE, *parts, END, DONE) == Answer("Hello", "stop")


@both_ways
@pytest.mark.parametrize("content", [7, [7], [None], [{"type": "text", "text": 7}]])
def test_content_that_is_neither_text_nor_parts_is_unreadable(send: Send, content: object) -> None:
    assert error_in(send({"content": content})).code is FailureCode.UNREADABLE_ANSWER


@both_ways
@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"content": None, "reasoning_content": "42"}, id="reasoning-content"),
        pytest.param({"content": "", "reasoning": "42"}, id="reasoning"),
        pytest.param({"reasoning_details": [{"text": "42"}]}, id="reasoning-details"),
        pytest.param({"content": [THINKING]}, id="thinking"),
        pytest.param({"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}, id="an-image"),
    ],
)
def test_an_answer_without_text_that_has_something_else_is_not_an_empty_answer(
    send: Send, message: dict[str, Any]
) -> None:
    caught = error_in(send(message, usage=COUNTS))

    assert (type(caught), caught.code, caught.usage) == (ModelFailed, FailureCode.NO_CONTENT, Usage(3, 2, 5))


@both_ways
def test_reasoning_that_has_used_up_the_token_limit_is_a_truncated_answer(send: Send) -> None:
    assert answer_in(send({"reasoning_content": "Let me"}, "length")) == Answer("", "length")


@both_ways
def test_reasoning_beside_text_is_left_out(send: Send) -> None:
    assert answer_in(send({"content": "Hello", "reasoning_content": "Hm"})) == Answer("Hello", "stop")


@both_ways
def test_an_answer_with_nothing_in_it_is_an_empty_answer(send: Send) -> None:
    assert answer_in(send({"content": None, "reasoning_content": None})) == Answer("", "stop")


@pytest.mark.parametrize("name", ["message", "delta"])
def test_a_stream_may_bring_messages_in_place_of_deltas(name: str) -> None:
    texts = [event(choices=[{"index": 0, name: {"role": "assistant", "content": text}}]) for text in ("Hel", "lo")]

    assert answer_in(*texts, END, USAGE, DONE) == FULL


def test_a_message_that_repeats_the_deltas_at_the_end_is_not_read_twice() -> None:
    end = event(choices=[{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}])

    assert answer_in(piece("Hel"), piece("lo"), end, USAGE, DONE) == FULL


def test_a_choice_may_have_its_text_without_a_message() -> None:
    texts = [event(choices=[{"index": 0, "text": text, "finish_reason": None}]) for text in ("Hel", "lo")]

    assert answer_in(*texts, END, USAGE, DONE) == FULL


# ─── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (event(**TOO_FAST), ModelBusy, FailureCode.RATE_LIMITED),
        (b'{"error": {"code": 502}}', ModelFailed, FailureCode.SERVER_ERROR),
        (b'{"error": {"type": "overloaded_error"}, "choices": null}', ModelFailed, FailureCode.SERVER_ERROR),
        (b'event: error\ndata: {"error": {"message": "x"}}\n\n', ModelFailed, FailureCode.SERVER_ERROR),
        (
            b'event: error\ndata: {"code": "rate_limit_exceeded", "details": "x"}\n\n',
            ModelBusy,
            FailureCode.RATE_LIMITED,
        ),
        (b'event: error\ndata: {"code": 400, "details": "x"}\n\n', ModelRefused, FailureCode.BAD_REQUEST),
        (
            b'{"object": "error", "message": "x", "type": "invalid_request_error"}',
            ModelRefused,
            FailureCode.BAD_REQUEST,
        ),
        (event(type="error", error={"type": "rate_limit_error"}), ModelBusy, FailureCode.RATE_LIMITED),
        (HELLO + event(**TOO_FAST), ModelFailed, FailureCode.RATE_LIMITED),
    ],
)
def test_an_error_in_place_of_an_answer_is_judged_by_its_code(
    data: bytes, kind: type[ModelError], code: FailureCode
) -> None:
    caught = error_in(data)

    assert (type(caught), caught.code) == (kind, code)


def test_the_event_after_a_named_one_is_no_error() -> None:
    assert answer_in(b"event: error\n\n" + HELLO + END + DONE) == Answer("Hello", "stop")


@both_ways
@pytest.mark.parametrize(
    "message", [{"refusal": "I cannot"}, {"content": [{"type": "refusal", "refusal": "I cannot"}]}]
)
def test_a_refusal_of_the_model_is_an_answer_with_its_text(send: Send, message: dict[str, Any]) -> None:
    assert answer_in(send(message, usage=COUNTS)) == Answer("", "stop", Usage(3, 2, 5), refusal="I cannot")


def test_a_refusal_in_pieces_is_joined() -> None:
    answer = answer_in(ROLE, delta(refusal="I "), delta(refusal="cannot"), END, DONE)

    assert (answer.refusal, answer.text) == ("I cannot", "")


def error_after(*events: Mapping[str, Any]) -> ModelError:
    """Return what an error about the rate becomes that comes after these events."""
    parts = CompletionAccumulator()
    for each in events:
        parts.add(each)
    with pytest.raises(ModelError) as caught:
        parts.add(TOO_FAST)
    return caught.value


def chunk(index: int | None = 0, **fields: object) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": None}]}


OPENING = chunk(role="assistant", content="", refusal=None)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(chunk(content="Hello"), id="text"),
        pytest.param(chunk(reasoning_content="Let me think"), id="reasoning-content"),
        pytest.param(chunk(content="", reasoning="Let me think"), id="reasoning"),
        pytest.param(chunk(refusal="I cannot"), id="refusal"),
        pytest.param(chunk(tool_calls=[{"index": 0, "function": {"name": "weather"}}]), id="tool-call"),
        pytest.param(chunk(1, content="Hello"), id="another-choice"),
        pytest.param({"choices": [], "usage": COUNTS}, id="usage"),
        pytest.param({"choices": [{"message": {"content": "Hello"}}]}, id="message"),
        pytest.param({"choices": [{"text": "Hello"}]}, id="bare-text"),
    ],
)
def test_an_error_after_something_that_is_billed_costs_an_attempt(begun: dict[str, Any]) -> None:
    caught = error_after(OPENING, begun)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.RATE_LIMITED)


@pytest.mark.parametrize("before", [(), (OPENING,), (OPENING, {"choices": []}), ({"type": "ping"}, OPENING)])
def test_an_error_about_the_rate_before_the_answer_has_begun_costs_none(before: tuple[dict[str, Any], ...]) -> None:
    assert type(error_after(*before)) is ModelBusy


def test_no_error_carries_what_the_provider_sent() -> None:
    for data in (b"data: {Attack at dawn\n\n", piece(["Attack", 7]), b'{"x": "Attack at dawn'):
        caught = error_in(data)

        assert "Attack" not in repr(caught)
        assert caught.__suppress_context__ or caught.__context__ is None


def test_a_character_that_was_cut_in_two_is_joined() -> None:
    assert answer_in(streamed({"content": "\ud83d"})).text == "\ufffd"
    halves = [
        f'data: {{"choices":[{{"delta":{{"content":"{half}"}}}}]}}\n\n'.encode() for half in ("\\ud83d", "\\ude00")
    ]
    assert answer_in(*halves, END).text == json.loads('"\\ud83d\\ude00"')


# ─── Whatever comes ───────────────────────────────────────────────────────────────────────────────────────────────────


NAMES = st.sampled_from(
    [
        *("choices", "delta", "message", "text", "content", "type", "refusal", "reasoning_content", "index", "id"),
        *("tool_calls", "function_call", "function", "custom", "name", "arguments", "input", "finish_reason", "error"),
        *("usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "object", "code"),
    ]
)
WORDS = st.sampled_from(["", "stop", "length", "error", "content_filter", "text", "thinking", "custom", "{}", "\ud800"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
CHOICES = st.fixed_dictionaries({"choices": st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=2)})


@settings(max_examples=500, deadline=None, derandomize=True)
@given(events=st.lists(CHOICES | VALUES | st.binary(max_size=20), max_size=5), size=st.integers(1, 200))
def test_whatever_comes_is_an_answer_or_a_model_error(events: list[object], size: int) -> None:
    sent = [each if isinstance(each, bytes) else b"data: " + json.dumps(each).encode() + b"\n\n" for each in events]
    for data in (b"".join(sent), b"".join(sent) + END + DONE, b"".join(each.removeprefix(b"data: ") for each in sent)):
        with contextlib.suppress(ModelError):
            answer = answer_in(*split(data, size))
            assert isinstance(answer.text.encode(), bytes)
            assert answer.finish_reason is None or answer.finish_reason
