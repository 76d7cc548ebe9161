"""Test that a queue message survives encoding and decoding, and that others are rejected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import MessageTooNew, MessageUnreadable
from common.domain.message import VERSION, TaskMessage
from common.domain.task import Task, TaskRef, new_batch_id
from tests.requests import chat

BATCH_ID = new_batch_id(1_700_000_000_000, bytes(16))
TASK = Task(
    ref=TaskRef("acme", BATCH_ID, 3),
    batch_size=5,
    created_ms=1_000,
    deadline_ms=2_000,
    retention_ms=3_000,
    model="gpt-test",
    custom_id="row-3",
)
MESSAGE = TaskMessage(TASK, chat("Tell a joke.", max_tokens=50), 40)
TEXT = st.text(st.characters(codec=None, categories=None))


@given(content=TEXT, custom_id=st.none() | TEXT, expected=st.none() | st.integers(1, 10**6))
def test_a_message_comes_back_equal_and_travels_as_ascii(
    content: str, custom_id: str | None, expected: int | None
) -> None:
    task = Task(
        ref=TASK.ref,
        batch_size=5,
        created_ms=1_000,
        deadline_ms=2_000,
        retention_ms=3_000,
        model="gpt-test",
        custom_id=custom_id,
    )
    message = TaskMessage(task, chat(content), expected)

    body = message.encode()

    assert body.isascii()
    assert TaskMessage.decode(body) == message


def test_a_later_version_is_left_to_its_own_worker() -> None:
    body = json.dumps({**json.loads(MESSAGE.encode()), "v": VERSION + 1})

    with pytest.raises(MessageTooNew):
        TaskMessage.decode(body)


@pytest.mark.parametrize(
    "change",
    [
        {"task": {"tenant": None, "batch_id": "../etc"}},
        {"task": {"index": -1}},
        {"task": {"index": 10_000}},
        {"task": {"index": "x"}},
        {"task": {"created_ms": "soon"}},
        {"task": {"budgets": 7}},
        {"task": {"kind": "workflow"}},
        {"task": {"kind": None}},
        {"request": {"kind": None}},
        {"request": {"kind": 7}},
        {"request": {"body": []}},
        {"request": {"body": "hello"}},
        {"request": {"body": None}},
    ],
    ids=str,
)
def test_a_message_with_a_wrong_field_is_unreadable(change: dict[str, dict[str, object]]) -> None:
    raw = json.loads(MESSAGE.encode())

    with pytest.raises(MessageUnreadable):
        TaskMessage.decode(json.dumps(raw | {name: raw[name] | fields for name, fields in change.items()}))


@pytest.mark.parametrize("change", [{"v": None}, {"request": {"kind": "of the future", "body": {}}}], ids=str)
def test_a_message_of_an_unknown_version_or_kind_is_left_to_a_later_worker(change: dict[str, object]) -> None:
    with pytest.raises(MessageTooNew):
        TaskMessage.decode(json.dumps(json.loads(MESSAGE.encode()) | change))


@pytest.mark.parametrize("body", ["", "hello", "null", "[]", "7", '{"v":1}', "[" * 100_000, "9" * 5_000])
def test_a_body_that_is_no_message_is_unreadable(body: str) -> None:
    with pytest.raises(MessageUnreadable) as caught:
        TaskMessage.decode(body)

    assert caught.value.__cause__ is None
    assert body not in str(caught.value) or not body


def test_prompt_text_stays_out_of_the_repr() -> None:
    assert "joke" not in repr(MESSAGE)
    assert "max_tokens" not in repr(MESSAGE)
