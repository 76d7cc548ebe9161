"""Estimate how many tokens a request of embeddings uses. Standard library only."""

from collections.abc import Mapping
from typing import Any

from common.kinds.tokens import CHARACTERS_PER_TOKEN


def prompt_tokens(body: Mapping[str, Any], /) -> int:
    """Estimate the tokens of all inputs; those of token arrays are counted."""
    given = body["input"]
    return sum(map(_tokens_of, inputs_of(given)))


def answer_tokens(body: Mapping[str, Any], expected: int | None, /) -> int:  # noqa: ARG001  # the signature of every kind
    """Return 0: an embedding has no tokens."""
    return 0


def inputs_of(given: Any) -> list[Any]:  # noqa: ANN401  # any form that `input` may have
    """Return the inputs one by one: one for a string or an array of tokens, otherwise those of the list."""
    if isinstance(given, list) and given and not isinstance(given[0], int):
        return given
    return [given]


def _tokens_of(given: str | list[int]) -> int:
    if isinstance(given, list):
        return len(given)
    # Bytes: outside of ASCII a token has fewer characters.
    return max(1, len(given.encode(errors="surrogatepass")) // CHARACTERS_PER_TOKEN)
