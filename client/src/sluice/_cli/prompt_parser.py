"""Make a prompt of what a line of a file says, and say what is wrong with it."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

FIELDS: Final = frozenset({"prompt", "messages", "custom_id", "model", "system", "params", "expected_tokens"})
"""Of a prompt of POST /tasks."""
RESERVED_PARAMS: Final = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "n", "logprobs", "top_logprobs", "modalities", "audio"),
        *("functions", "function_call", "extra_headers", "extra_query", "extra_body", "timeout"),
        *("web_search_options", "search_parameters", "enable_search", "plugins", "models", "fallbacks"),
    }
)
"""What the API takes in no params; docs/api.md says why."""
HARMLESS: Final[Mapping[str, Any]] = {"n": 1, "stream": False, "logprobs": False, "modalities": ["text"]}
"""Reserved ones that say in a request of the Batch API what is so anyway: they are left out."""
BATCH_URL: Final = "/v1/chat/completions"
MOST_BYTES: Final = 262_144
"""Of a prompt, as JSON in ASCII, with the system prompt and params."""
MOST_ID: Final = 256


class BadPromptError(ValueError):
    """What is wrong, for people; it names fields and never quotes a prompt."""


def prompt_of(value: object) -> dict[str, Any]:
    """Make a prompt of a JSON value: a text, a prompt of POST /tasks, or a request of the OpenAI Batch API.

    Raises:
        BadPromptError: it is none of them.

    """
    if isinstance(value, str):
        return checked({"prompt": value})
    if not isinstance(value, dict):
        raise BadPromptError("must be a text or an object")
    if "body" in value or "url" in value or "method" in value:
        return checked(_batch_request(value))
    for name in value.keys() - FIELDS:
        close = get_close_matches(name, FIELDS, 1)
        hint = f"; do you mean {close[0]!r}?" if close else ""
        raise BadPromptError(f"has a field {name!r}, which no prompt has{hint}")
    return checked({name: field for name, field in value.items() if field is not None})


def input_of(value: object) -> dict[str, Any]:
    """Take an input of a workflow as it is: what it may hold, the service knows.

    Raises:
        BadPromptError: it is no object.

    """
    if not isinstance(value, dict):
        raise BadPromptError("must be an object with the fields of the workflow's input")
    return value


def checked(prompt: dict[str, Any]) -> dict[str, Any]:
    """Return a prompt that keeps the rules; raises BadPromptError."""
    text, messages = prompt.get("prompt"), prompt.get("messages")
    if (text is None) == (messages is None):
        raise BadPromptError("must have one of prompt and messages")
    if text is not None and not (isinstance(text, str) and text.strip()):
        raise BadPromptError("has a prompt that is blank or no text")
    if messages is not None and not (isinstance(messages, list) and messages and all(map(_is_message, messages))):
        raise BadPromptError("has messages that are not a list of objects with a role")
    custom_id = prompt.get("custom_id")
    if custom_id is not None and not (isinstance(custom_id, str) and 1 <= len(custom_id) <= MOST_ID):
        raise BadPromptError(f"has a custom_id that is not a text of 1 to {MOST_ID} characters")
    params = prompt.get("params", {})
    if not isinstance(params, dict):
        raise BadPromptError("has params that are no object")
    if reserved := sorted(params.keys() & RESERVED_PARAMS):
        raise BadPromptError(f"has params that Sluice does not take: {', '.join(reserved)}")
    return prompt


def _is_message(message: object) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str)


def _batch_request(value: dict[str, Any]) -> dict[str, Any]:
    body = value.get("body")
    if not isinstance(body, dict):
        raise BadPromptError("is a request of the Batch API without a body")
    if value.get("method", "POST") != "POST" or value.get("url", BATCH_URL) != BATCH_URL:
        raise BadPromptError(f"is a request of the Batch API, but not POST {BATCH_URL}")
    params = {
        name: param
        for name, param in body.items()
        if name not in {"model", "messages"} and not (name in HARMLESS and param in (HARMLESS[name], None))
    }
    prompt = {"custom_id": value.get("custom_id"), "model": body.get("model"), "messages": body.get("messages")}
    return {name: field for name, field in {**prompt, "params": params or None}.items() if field is not None}
