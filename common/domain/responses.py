"""Read a stored chat completion. Its text is kept once, beside it. Standard library only."""

from collections.abc import Mapping
from typing import Any


def full_response(response: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a stored `chat.completion` with the text of its first choice put back."""
    first, *others = response.get("choices") or [{}]
    message = first.get("message")
    if message is None or "content" in message:
        return dict(response)
    # `content` behind `role`, as the provider has it.
    filled = {"role": message.get("role"), "content": text} | message
    return {**response, "choices": [{**first, "message": filled}, *others]}
