"""Estimate how many tokens a call uses, before and while it is made."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from common.domain.message import TaskMessage
from common.domain.rate_limits import MOST_ANSWER_TOKENS
from common.worker.progress import CHARACTERS_PER_TOKEN, expected_tokens

MEDIA_TOKENS: Final = 1_000
"""What an image, a sound or a file counts: about an image of a megapixel. Its bytes are no text that a model reads."""

_IN_PROMPT: Final = ("tools", "response_format")
"""The params that a provider puts before the model."""

_MEDIA: Final = frozenset({"image_url", "input_audio", "file", "video_url"})
"""The types of a message's parts that carry bytes, or the address of some."""


def prompt_tokens(message: TaskMessage) -> int:
    """Estimate what the prompt of a call counts."""
    media = 0
    texts = []
    body = message.request.body
    for each in body["messages"]:
        content = each.get("content")
        if isinstance(content, list):
            text = list(_texts_of(content))
            media += len(content) - len(text)
            texts.append({**each, "content": text})
        else:
            texts.append(each)
    asked = [texts, *(body[name] for name in _IN_PROMPT if name in body)]
    # Bytes: outside of ASCII a token has fewer characters.
    size = len(json.dumps(asked, ensure_ascii=False).encode(errors="surrogatepass"))
    return size // CHARACTERS_PER_TOKEN + media * MEDIA_TOKENS


def answer_tokens(message: TaskMessage) -> int:
    """Estimate what the answer of a call counts: what the caller says, but no more than any model answers."""
    return min(expected_tokens(message), MOST_ANSWER_TOKENS)


def _texts_of(parts: Iterable[Any]) -> Iterable[Any]:
    return (part for part in parts if not (isinstance(part, Mapping) and part.get("type") in _MEDIA))
