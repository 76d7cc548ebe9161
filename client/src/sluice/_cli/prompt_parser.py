"""Parse and validate one prompt of a file."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

FIELDS: Final = frozenset({"prompt", "messages", "custom_id", "model", "system", "params", "expected_tokens"})
"""The fields of a prompt of POST /tasks."""
RESERVED_PARAMS: Final = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "n", "logprobs", "top_logprobs", "modalities", "audio"),
        *("functions", "function_call", "extra_headers", "extra_query", "extra_body", "timeout"),
        *("web_search_options", "search_parameters", "enable_search", "plugins", "models", "fallbacks"),
    }
)
"""Names that the API rejects in params; docs/api.md says why."""
DEFAULT_PARAMS: Final[Mapping[str, Any]] = {"n": 1, "stream": False, "logprobs": False, "modalities": ["text"]}
"""Reserved params of Batch API requests that only state the default: they are removed."""
BATCH_URLS: Final = ("/v1/chat/completions", "/chat/completions")
"""The URLs of a Batch API request that Sluice answers; the second is Azure's."""
ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_INSTRUCTIONS: Final = frozenset({"system", "developer"})
MAX_PROMPT_BYTES: Final = 262_144
"""Maximum size of a prompt as JSON in ASCII, including the system prompt and params."""
MAX_CUSTOM_ID_LENGTH: Final = 256


class BadPromptError(ValueError):
    """A prompt is invalid; the message names fields and never quotes a prompt."""


def parse_prompt(value: object) -> dict[str, Any]:
    """Parse a JSON value: a string, a prompt of POST /tasks, or a request of the OpenAI Batch API.

    Raises:
        BadPromptError: the value is none of these.

    """
    if isinstance(value, str):
        return validate({"prompt": value})
    if not isinstance(value, dict):
        raise BadPromptError("must be a string or an object")
    if "body" in value or "url" in value or "method" in value:
        return validate(_batch_request(value))
    for name in value.keys() - FIELDS:
        close = get_close_matches(name, FIELDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadPromptError(f"has an unknown field {name!r}{hint}")
    return validate({name: field for name, field in value.items() if field is not None})


def parse_input(value: object) -> dict[str, Any]:
    """Return a workflow input unchanged; the service validates it against the schema.

    Raises:
        BadPromptError: the value is not an object.

    """
    if not isinstance(value, dict):
        raise BadPromptError("must be an object with the fields of the workflow's input")
    return value


def validate(prompt: dict[str, Any]) -> dict[str, Any]:
    """Return the prompt if it is valid; raises BadPromptError."""
    text, messages = prompt.get("prompt"), prompt.get("messages")
    if (text is None) == (messages is None):
        raise BadPromptError("must have either prompt or messages")
    if text is not None and not (isinstance(text, str) and text.strip()):
        raise BadPromptError("has a prompt that is blank or not a string")
    if messages is not None:
        _validate_messages(messages, prompt.get("system"))
    custom_id = prompt.get("custom_id")
    if custom_id is not None and not (isinstance(custom_id, str) and 1 <= len(custom_id) <= MAX_CUSTOM_ID_LENGTH):
        raise BadPromptError(f"has a custom_id that is not a string of 1 to {MAX_CUSTOM_ID_LENGTH} characters")
    params = prompt.get("params", {})
    if not isinstance(params, dict):
        raise BadPromptError("has params that are not an object")
    if reserved := sorted(params.keys() & RESERVED_PARAMS):
        raise BadPromptError(f"has params that Sluice does not accept: {', '.join(reserved)}")
    return prompt


def _validate_messages(messages: object, system: object) -> None:
    if not (isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages)):
        raise BadPromptError("has messages that are not a list of objects with a role")
    for number, message in enumerate(messages, 1):
        if problem := _problem_of_message(message):
            raise BadPromptError(f"has a message {problem} (number {number})")
    if system is not None and any(message["role"] in _INSTRUCTIONS for message in messages):
        raise BadPromptError("has a system prompt beside messages with a system or developer message")


def _problem_of_message(message: dict[str, Any]) -> str:
    """Return which rule of the API a message breaks, or ""; the rules are those of POST /tasks."""
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        return f"whose role is not one of {', '.join(ROLES)}"
    call_id = message.get("tool_call_id")
    if role == "tool" and not (isinstance(call_id, str) and call_id):
        return "of a tool without a tool_call_id"
    if content is None and role == "assistant":
        return ""
    if content == "" and (role == "tool" or message.get("tool_calls")):
        return ""
    is_text = isinstance(content, str) and bool(content.strip())
    is_parts = isinstance(content, list) and bool(content) and all(isinstance(part, dict) for part in content)
    return "" if is_text or is_parts else "whose content is blank, or not a text or a list of content parts"


def _batch_request(value: dict[str, Any]) -> dict[str, Any]:
    body = value.get("body")
    if not isinstance(body, dict):
        raise BadPromptError("is a Batch API request without a body")
    if (value.get("method") or "POST") != "POST" or (value.get("url") or BATCH_URLS[0]) not in BATCH_URLS:
        raise BadPromptError(f"is a Batch API request, but not POST {BATCH_URLS[0]}")
    params = {
        name: param
        for name, param in body.items()
        # To the Batch API a null is the same as a missing parameter.
        if name not in {"model", "messages"} and param is not None and param != DEFAULT_PARAMS.get(name)
    }
    prompt = {"custom_id": value.get("custom_id"), "model": body.get("model"), "messages": body.get("messages")}
    return {name: field for name, field in {**prompt, "params": params or None}.items() if field is not None}
