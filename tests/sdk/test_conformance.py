"""The conformance check finds what the SDK accepts silently."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from tests.sdk.conformance import NotConforming, check, conforming

MESSAGE: dict[str, Any] = {"role": "assistant", "content": "Hello", "refusal": None}
CHOICE: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": MESSAGE}
COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [CHOICE],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def completion(**message: object) -> dict[str, Any]:
    return {**COMPLETION, "choices": [{**CHOICE, "message": {**MESSAGE, **message}}]}


def test_a_conforming_body_is_returned_as_its_type() -> None:
    assert conforming(ChatCompletion, json.dumps(COMPLETION)).choices[0].message.content == "Hello"


@pytest.mark.parametrize("missing", ["id", "object", "created", "model", "choices"])
def test_a_missing_field_is_found(missing: str) -> None:
    body = {name: value for name, value in COMPLETION.items() if name != missing}

    with pytest.raises(ValidationError, match=missing):
        conforming(ChatCompletion, json.dumps(body))


@pytest.mark.parametrize(
    "body",
    [
        {**COMPLETION, "created": "1"},
        {**COMPLETION, "object": "text"},
        completion(content=["a"]),
        completion(role="user"),
    ],
)
def test_a_field_of_another_type_is_found(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        conforming(ChatCompletion, json.dumps(body))


@pytest.mark.parametrize(
    ("body", "place"),
    [({**COMPLETION, "task_id": "t"}, "/task_id"), (completion(text="a"), "/choices/0/message/text")],
)
def test_an_unknown_field_is_found_wherever_it_is(body: dict[str, Any], place: str) -> None:
    with pytest.raises(NotConforming, match=f"does not have: {place}$"):
        conforming(ChatCompletion, json.dumps(body))


def test_an_object_that_the_sdk_has_parsed_is_checked_as_it_arrived() -> None:
    check(ChatCompletion.construct(**COMPLETION))

    for body in ({**COMPLETION, "task_id": "t"}, {**COMPLETION, "created": None}, completion(content=1)):
        with pytest.raises((NotConforming, ValidationError)):
            check(ChatCompletion.construct(**body))
