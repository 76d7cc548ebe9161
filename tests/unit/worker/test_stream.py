"""Streams as servers and gateways really send them: what is passed over, what is refused, and what is billed."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from common.errors import ModelBusy, ModelError, ModelFailed
from common.tasks import Answer, FailureCode, Usage
from functions.worker.stream import AnswerParts, EventReader

BOM = b"\xef\xbb\xbf"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
TOO_FAST = {"error": {"code": "rate_limit_exceeded"}}


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def piece(content: str | None, *, finish: str | None = None, **fields: object) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": content}, "finish_reason": finish, **fields}])


HELLO, END, DONE = piece("Hello"), piece(None, finish="stop"), b"data: [DONE]\n\n"


def answer_in(data: bytes, *, size: int = 1000) -> Answer:
    """Read a stream that comes in chunks of so many bytes."""
    reader, parts = EventReader(), AnswerParts()
    for at in range(0, len(data), size):
        for each in reader.feed(data[at : at + size]):
            parts.add(each)
    for each in reader.finish():
        parts.add(each)
    return parts.finish()


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
        pytest.param(HELLO + END + event(choices=None) + DONE, id="no-choices-after-the-end"),
        pytest.param(piece("Hello", index=None) + END + DONE, id="no-index"),
    ],
)
def test_what_the_specification_ignores_is_passed_over(data: bytes, size: int) -> None:
    assert answer_in(data, size=size) == Answer("Hello", "stop")


def test_a_usage_that_comes_last_and_without_choices_is_taken() -> None:
    assert answer_in(HELLO + END + event(choices=None, usage=USAGE) + DONE) == Answer("Hello", "stop", Usage(3, 2, 5))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<html>hello</html>\n\n", id="no-fields"),
        pytest.param((HELLO + END + DONE).replace(b"\n", b"\r"), id="line-ends-of-a-carriage-return"),
    ],
)
def test_what_is_no_stream_of_events_is_refused(data: bytes) -> None:
    with pytest.raises(ModelFailed) as caught:
        answer_in(data)

    assert caught.value.code is FailureCode.UNREADABLE_ANSWER


def error_after(*events: Mapping[str, Any]) -> ModelError:
    """Return what an error about the rate becomes that comes after these events."""
    parts = AnswerParts()
    for each in events:
        parts.add(dict(each))
    with pytest.raises(ModelError) as caught:
        parts.add(dict(TOO_FAST))
    return caught.value


def delta(index: int | None = 0, **fields: object) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": None}]}


OPENING = delta(role="assistant", content="", refusal=None)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(delta(content="Hello"), id="text"),
        pytest.param(delta(reasoning_content="Let me think"), id="reasoning-content"),
        pytest.param(delta(content="", reasoning="Let me think"), id="reasoning"),
        pytest.param(delta(refusal="I cannot"), id="refusal"),
        pytest.param(delta(tool_calls=[{"index": 0, "function": {"name": "weather"}}]), id="tool-call"),
        pytest.param(delta(1, content="Hello"), id="another-choice"),
        pytest.param({"choices": [], "usage": USAGE}, id="usage"),
    ],
)
def test_an_error_after_something_that_is_billed_costs_an_attempt(begun: dict[str, Any]) -> None:
    caught = error_after(OPENING, begun)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.RATE_LIMITED)


@pytest.mark.parametrize("before", [(), (OPENING,), (OPENING, {"choices": []})])
def test_an_error_about_the_rate_before_the_answer_has_begun_costs_none(before: tuple[dict[str, Any], ...]) -> None:
    assert type(error_after(*before)) is ModelBusy
