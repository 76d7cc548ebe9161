"""Test the conversion of answers and schemas, compared with LangChain's own ChatOpenAI."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field

from common.domain.task import Answer, ToolCall, ToolKind, Usage
from functions.workflow.answers import message_of, response_format_of


class Inner(BaseModel):
    """One of several."""

    number: int = Field(description="A number")


class Judged(BaseModel):
    """Judge it."""

    good: bool
    why: str = "because"
    inners: list[Inner] = []


def test_an_answer_is_a_message_with_its_usage_and_reason() -> None:
    message = message_of(Answer("Hello", "length", Usage(10, 5, 15, 4)), "gpt-test")

    assert message.text == "Hello"
    assert message.usage_metadata == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_token_details": {"cache_read": 4},
    }
    assert message.response_metadata == {
        "finish_reason": "length",
        "model_name": "gpt-test",
        "model_provider": "openai",
    }


@pytest.mark.parametrize("reason", ["stop", None])
def test_an_answer_may_have_neither_usage_nor_reason(reason: str | None) -> None:
    message = message_of(Answer("Hello", reason), "gpt-test")

    assert message.usage_metadata is None
    assert message.response_metadata["finish_reason"] == reason


def test_tool_calls_are_read_and_those_that_are_no_json_are_shown_as_invalid() -> None:
    calls = (
        ToolCall("a", "weather", '{"city": "Bonn"}'),
        ToolCall("b", "clock", ""),
        ToolCall("c", "weather", '{"city": '),
        ToolCall("d", "shell", "ls -l", ToolKind.CUSTOM),
    )

    message = message_of(Answer("", "tool_calls", None, calls), "gpt-test")

    assert message.tool_calls == [
        {"type": "tool_call", "id": "a", "name": "weather", "args": {"city": "Bonn"}},
        {"type": "tool_call", "id": "b", "name": "clock", "args": {}},
        {"type": "tool_call", "id": "d", "name": "shell", "args": {"__arg1": "ls -l"}},
    ]
    assert [(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls] == [
        ("c", "weather", '{"city": ')
    ]


def test_a_message_survives_being_kept() -> None:
    message = message_of(Answer('{"good": true}', "stop", Usage(1, 2, 3)), "gpt-test", Judged)

    assert AIMessage.model_validate_json(message.model_dump_json()) == message


@pytest.mark.parametrize("text", ['{"good": ', "[1]", "", "null", "[" * 100_000])
def test_what_is_no_object_is_not_parsed(text: str) -> None:
    assert message_of(Answer(text, "stop"), "gpt-test", Judged).additional_kwargs == {}


def test_an_object_is_parsed_only_where_a_chain_wants_it() -> None:
    answer = Answer('{"good": true}', "stop")

    assert message_of(answer, "gpt-test", Judged).additional_kwargs == {"parsed": {"good": True}}
    assert message_of(answer, "gpt-test", {"type": "json_object"}).additional_kwargs == {}


def test_a_pydantic_model_is_written_as_a_strict_schema_and_anything_else_as_it_is() -> None:
    written: Any = response_format_of(Judged)

    assert (written["type"], written["json_schema"]["name"], written["json_schema"]["strict"]) == (
        "json_schema",
        "Judged",
        True,
    )
    schema = json.loads(json.dumps(written["json_schema"]["schema"]))
    assert schema["required"] == ["good", "why", "inners"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Inner"]["additionalProperties"] is False
    assert response_format_of({"type": "json_object"}) == {"type": "json_object"}
