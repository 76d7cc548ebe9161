"""Make the messages of a prompt, behind its system prompt or that of its call."""

from typing import Any, Final

from common.domain.errors import InvalidRequest
from functions.submit.schema import PromptBody

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_INSTRUCTIONS: Final = ("system", "developer")


def messages_of(body: PromptBody, system_of_call: str | None, place: str) -> list[dict[str, Any]]:
    """Return the messages to send, the instructions first; `place` is the JSON pointer of the prompt.

    Raises:
        InvalidRequest: with the message that breaks a rule, and the rule.

    """
    if (body.prompt is None) == (body.messages is None):
        raise InvalidRequest("must have either `prompt` or `messages`", pointer=place, code="invalid_value")
    if body.messages is None:
        if not (body.prompt or "").strip():
            raise InvalidRequest("must not be blank", pointer=f"{place}/prompt", code="blank_text")
        messages: list[dict[str, Any]] = [{"role": "user", "content": body.prompt}]
    else:
        messages = body.messages
        for index, message in enumerate(messages):
            _check_message(message, f"{place}/messages/{index}")
    has_instructions = any(message["role"] in _INSTRUCTIONS for message in messages)
    if body.system is not None and has_instructions:
        raise InvalidRequest(
            "must not stand beside `messages` that have a system or developer message",
            pointer=f"{place}/system",
            code="invalid_value",
        )
    system = None if has_instructions else body.system or system_of_call
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def _check_message(message: dict[str, Any], place: str) -> None:
    if message.get("role") not in ROLES:
        raise InvalidRequest(f"must be one of {', '.join(ROLES)}", pointer=f"{place}/role", code="invalid_value")
    content = message.get("content")
    if message["role"] == "tool" and not _is_name(message.get("tool_call_id")):
        raise InvalidRequest(
            "must say which of the assistant's tool_calls it answers",
            pointer=f"{place}/tool_call_id",
            code="invalid_value",
        )
    if content is None and message["role"] == "assistant":
        return  # an answer that only called tools
    if content == "" and (message["role"] == "tool" or message.get("tool_calls")):
        return  # a tool may have nothing to say, and so may an answer that only called tools
    is_text = isinstance(content, str) and bool(content.strip())
    is_parts = isinstance(content, list) and bool(content) and all(isinstance(part, dict) for part in content)
    if not is_text and not is_parts:
        raise InvalidRequest(
            "must be text that is not blank, or a list of content parts",
            pointer=f"{place}/content",
            code="blank_text" if content == "" else "invalid_value",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
