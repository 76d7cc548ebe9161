"""Estimate how many tokens a chat completion uses. Standard library only."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from common.kinds.tokens import CHARACTERS_PER_TOKEN, DEFAULT_ANSWER_TOKENS, MEDIA_TOKENS

_IN_PROMPT: Final = ("tools", "response_format")
"""The params that a provider puts before the model."""

_MEDIA: Final = frozenset({"image_url", "input_audio", "file", "video_url"})
"""The types of a message's parts that carry bytes, or the address of some."""


def prompt_tokens(body: Mapping[str, Any], /) -> int:
    """Estimate the tokens of the messages, the tools and the response format."""
    media = 0
    texts = []
    for each in body["messages"]:
        content = each.get("content")
        if isinstance(content, list):
            text = list(_texts_of(content))
            media += len(content) - len(text)
            texts.append({**each, "content": text})
        else:
            texts.append(each)
    counted = [texts, *(body[name] for name in _IN_PROMPT if name in body)]
    # Bytes: outside of ASCII a token has fewer characters.
    size = len(json.dumps(counted, ensure_ascii=False).encode(errors="surrogatepass"))
    return size // CHARACTERS_PER_TOKEN + media * MEDIA_TOKENS


def answer_tokens(body: Mapping[str, Any], expected: int | None, /) -> int:
    """Estimate the tokens of the answer: the caller's own estimate, up to the limit that the body sets.

    Each choice that the body requests has as many.
    """
    stated: tuple[Any, ...] = (expected, body.get("max_completion_tokens"), body.get("max_tokens"))
    tokens = min((count for count in stated if type(count) is int and count > 0), default=DEFAULT_ANSWER_TOKENS)
    choices = body.get("n")
    return tokens * choices if type(choices) is int and choices > 0 else tokens


def _texts_of(parts: Iterable[Any]) -> Iterable[Any]:
    return (part for part in parts if not (isinstance(part, Mapping) and part.get("type") in _MEDIA))
