"""Estimate how many tokens a workflow uses. Each model call of a chain is estimated by itself, as a chat completion."""

from collections.abc import Mapping
from typing import Any

from common.kinds.tokens import DEFAULT_ANSWER_TOKENS


def prompt_tokens(body: Mapping[str, Any], /) -> int:  # noqa: ARG001  # the signature of every kind
    """Return 0: the input itself is sent to no model."""
    return 0


def answer_tokens(body: Mapping[str, Any], expected: int | None, /) -> int:  # noqa: ARG001  # the signature of every kind
    """Return the caller's own estimate; the names of an input's fields mean nothing here."""
    return expected or DEFAULT_ANSWER_TOKENS
