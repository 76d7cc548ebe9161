"""Fuzz POST /tasks: any input is accepted or rejected as a whole, and never causes an internal error."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.integration.http.client import Answer, Api
from tests.integration.http.queue import Queue
from tests.requests import messages_of

pytestmark = pytest.mark.parametrize("redis", ["valkey"], indirect=True)

# The servers stay; what an example leaves behind is looked at and taken away within it.
one_api_for_all_examples = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150, derandomize=True
)

TEXT = st.text(max_size=20)
ODD_TEXT = st.sampled_from(
    ["😀", "\0", "\ufffe\uffff", "\x0b\x1f\x7f", "\u202eright to left", "שלום", '"\\', "\u2028", "é" * 50, "\U0010ffff"]
)
VALID = {
    "prompts": [
        "plain",
        {"prompt": "one", "custom_id": "a", "model": "large", "params": {"temperature": 0.5, "stop": ["x"]}},
        {"messages": [{"role": "user", "content": "two"}], "expected_tokens": 5},
    ],
    "model": "small",
    "system": "Be brief",
    "params": {"seed": 1},
    "deadline_seconds": 60,
}
TOKENS = st.sampled_from(
    [
        *(b"NaN", b"1e999", b"-", b"9" * 400, b"\\ud800", b"\\u0000", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
        *(
            b"null",
            b"true",
            b'"',
            b",",
            b"}",
            b"\n",
            b"[" * 2_000,
            b'{"a":',
            b'"prompts":[],',
            b'"n":2,',
            b'"prompt":"x",',
        ),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a valid body with a few cuts and insertions."""
    body = json.dumps(VALID).encode()
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 8)))
        body = body[:start] + draw(TOKENS | st.binary(max_size=4)) + body[end:]
    return body


def keys_in(api: Api) -> int:
    count: int = api.status.runner.run(api.status.redis.dbsize())
    return count


def check(api: Api, queue: Queue, answer: Answer, keys_before: int) -> None:
    """Compare an answer with what it left behind."""
    messages = queue.drain()
    event(str(answer.status))
    if answer.status == 202:
        assert [message.task.ref.task_id for message in messages] == answer.body["task_ids"]
        assert keys_in(api) == keys_before + 1 + len(messages)
    else:
        assert 400 <= answer.status < 500
        assert answer.body["code"]
        assert messages == []
        assert keys_in(api) == keys_before


@given(body=st.binary(max_size=200) | mutated())
@one_api_for_all_examples
def test_any_bytes_are_accepted_whole_or_refused_whole(api: Api, queue: Queue, body: bytes) -> None:
    before = keys_in(api)

    check(api, queue, api.post_text(base64.b64encode(body).decode(), is_base64=True), before)


@given(body=st.none() | st.text(max_size=100) | mutated().map(lambda body: body.decode("utf-8", "surrogateescape")))
@one_api_for_all_examples
def test_any_text_is_accepted_whole_or_refused_whole(api: Api, queue: Queue, body: str | None) -> None:
    before = keys_in(api)

    check(api, queue, api.post_text(body), before)


@given(key=st.text(max_size=300))
@one_api_for_all_examples
def test_any_idempotency_key_is_taken_or_refused(api: Api, queue: Queue, key: str) -> None:
    answer = api.post({"prompts": ["a"]}, key=key)

    assert answer.status == (202 if 1 <= len(key) <= 255 and key.isascii() and key.isprintable() else 400)
    queue.drain()


@given(
    texts=st.lists((TEXT | ODD_TEXT).filter(lambda text: bool(text.strip())), min_size=1, max_size=25),
    system=st.none() | ODD_TEXT.filter(lambda text: bool(text.strip())),
    ensure_ascii=st.booleans(),
)
@one_api_for_all_examples
def test_every_accepted_prompt_arrives_once_with_its_text_intact(
    api: Api, queue: Queue, texts: list[str], system: str | None, *, ensure_ascii: bool
) -> None:
    body: dict[str, Any] = {"prompts": texts, "system": system}

    answer = api.post(json.dumps(body, ensure_ascii=ensure_ascii))

    assert answer.status == 202
    messages = queue.drain()
    assert [message.task.ref.task_id for message in messages] == answer.body["task_ids"]
    assert [messages_of(message)[-1]["content"] for message in messages] == texts
    assert all((messages_of(message)[0]["content"] == system) == (system is not None) for message in messages)


# What SQS takes in a body; moto takes more.
SQS_TAKES = {"\t", "\n", "\r"} | {chr(code) for code in range(0x20, 0x7F)}


@given(text=TEXT | ODD_TEXT)
@one_api_for_all_examples
def test_a_message_holds_only_characters_that_sqs_takes(api: Api, queue: Queue, text: str) -> None:
    answer = api.post({"prompts": ["x" + text], "params": {"user": text}})

    assert answer.status == 202
    assert all(set(message.encode()) <= SQS_TAKES for message in queue.drain())
