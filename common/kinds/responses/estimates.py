"""Estimate how many tokens a response uses. Standard library only."""

import json
from collections.abc import Mapping
from typing import Any, Final

from common.kinds.tokens import CHARACTERS_PER_TOKEN, DEFAULT_ANSWER_TOKENS, MEDIA_TOKENS

_IN_PROMPT: Final = ("instructions", "tools", "text")
"""The params that a provider puts before the model, beside the input."""

_MEDIA: Final = frozenset({"input_image", "input_file", "input_audio"})
"""The types of a message's parts that carry bytes, or the address of some."""


def prompt_tokens(body: Mapping[str, Any], /) -> int:
    """Estimate the tokens of the input, the instructions, the tools and the text format."""
    given = body.get("input")
    counted, media = _without_media(given) if isinstance(given, list) else ([given], 0)
    counted += [body[name] for name in _IN_PROMPT if body.get(name) is not None]
    # Bytes: outside of ASCII a token has fewer characters.
    size = len(json.dumps(counted, ensure_ascii=False).encode(errors="surrogatepass"))
    return size // CHARACTERS_PER_TOKEN + media * MEDIA_TOKENS


def answer_tokens(body: Mapping[str, Any], expected: int | None, /) -> int:
    """Estimate the tokens of the answer: the caller's own estimate, up to the limit that the body sets."""
    stated: tuple[Any, ...] = (expected, body.get("max_output_tokens"))
    return min((count for count in stated if type(count) is int and count > 0), default=DEFAULT_ANSWER_TOKENS)


def _without_media(items: list[Any]) -> tuple[list[Any], int]:
    """Return the items without the parts that are media, and the number of these parts."""
    media, texts = 0, []
    for item in items:
        content = item.get("content") if isinstance(item, Mapping) else None
        if not isinstance(content, list):
            texts.append(item)
            continue
        kept = [part for part in content if not (isinstance(part, Mapping) and part.get("type") in _MEDIA)]
        media += len(content) - len(kept)
        texts.append({**item, "content": kept})
    return texts, media
