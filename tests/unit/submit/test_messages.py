"""The messages of a prompt: what is taken, and what is refused."""

from dataclasses import replace

import pytest

from functions.submit.parsing import parse_call
from tests.requests import messages_of, params_of
from tests.unit.submit.calls import LIMITS, only, prompts, refusal, system, user


def test_messages_are_taken_as_they_are_behind_the_system_prompt() -> None:
    conversation = [user("a"), {"role": "assistant", "content": "b", "name": "x"}, user("c")]

    assert messages_of(only({"prompts": [{"messages": conversation}], "system": "S"})) == [system("S"), *conversation]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_messages_with_instructions_of_their_own_keep_those(role: str) -> None:
    conversation = [{"role": role, "content": "mine"}, user("a")]

    assert messages_of(only({"prompts": [{"messages": conversation}], "system": "yours"})) == conversation


def test_a_message_may_be_made_of_parts() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]

    assert messages_of(only({"prompts": [{"messages": parts}]})) == parts


def test_a_conversation_may_call_tools_and_answer_them_and_its_answer_may_call_more() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    conversation = [
        user("Rain?"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "no"}]},
    ]
    params = {
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    asked = {"prompts": [{"messages": conversation, "params": {"tool_choice": "required"}}], "params": params}

    [prompt] = parse_call(asked, replace(LIMITS, most_prompt_bytes=1_000)).prompts

    assert (messages_of(prompt), params_of(prompt)) == (conversation, params)


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        (prompts(""), "/prompts/0/prompt", "blank_text"),
        (prompts(" \n\t"), "/prompts/0/prompt", "blank_text"),
        (prompts({}), "/prompts/0", "invalid_value"),
        (prompts({"prompt": "a", "messages": [user("b")]}), "/prompts/0", "invalid_value"),
        (prompts({"messages": []}), "/prompts/0/messages", "invalid_value"),
        (
            prompts({"messages": [{"role": "tool", "content": "no"}]}),
            "/prompts/0/messages/0/tool_call_id",
            "invalid_value",
        ),
        (
            prompts({"messages": [{"role": "tool", "content": "no", "tool_call_id": ""}]}),
            "/prompts/0/messages/0/tool_call_id",
            "invalid_value",
        ),
        (
            prompts({"messages": [{"role": "tool", "content": "no", "tool_call_id": 1}]}),
            "/prompts/0/messages/0/tool_call_id",
            "invalid_value",
        ),
        (prompts({"messages": [{"role": "assistant", "content": ""}]}), "/prompts/0/messages/0/content", "blank_text"),
        (prompts({"messages": ["a"]}), "/prompts/0/messages/0", "invalid_value"),
        (prompts({"messages": [{"content": "a"}]}), "/prompts/0/messages/0/role", "invalid_value"),
        (prompts({"messages": [{"role": "boss", "content": "a"}]}), "/prompts/0/messages/0/role", "invalid_value"),
        (prompts({"messages": [{"role": ["user"], "content": "a"}]}), "/prompts/0/messages/0/role", "invalid_value"),
        (prompts({"messages": [user("a"), user("")]}), "/prompts/0/messages/1/content", "blank_text"),
        (prompts({"messages": [{"role": "user"}]}), "/prompts/0/messages/0/content", "invalid_value"),
        (prompts({"messages": [{"role": "user", "content": ["a"]}]}), "/prompts/0/messages/0/content", "invalid_value"),
        (prompts({"messages": [system("a")], "system": "b"}), "/prompts/0/system", "invalid_value"),
    ],
)
def test_a_breach_in_the_messages_is_refused_by_its_place(document: object, pointer: str | None, code: str) -> None:
    error = refusal(document)

    assert (error.pointer, error.code) == (pointer, code)
    assert error.status == 400


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        (prompts(""), "must not be blank"),
        (prompts({}), "must have either `prompt` or `messages`"),
        (
            prompts({"messages": [system("a")], "system": "b"}),
            "must be omitted: `messages` have a system or developer message",
        ),
        (
            prompts({"messages": [{"role": "boss", "content": "a"}]}),
            "must be one of system, developer, user, assistant, tool",
        ),
        (
            prompts({"messages": [{"role": "tool", "content": "no"}]}),
            "must be the id of the assistant's tool call that this message answers",
        ),
        (prompts({"messages": [user("")]}), "must be text that is not blank, or a list of content parts"),
    ],
)
def test_a_refusal_says_the_rule_of_messages(document: object, detail: str) -> None:
    assert refusal(document).detail == detail
