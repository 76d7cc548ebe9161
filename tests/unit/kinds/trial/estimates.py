"""Estimate the tokens of a trial request, which states them."""

from collections.abc import Mapping
from typing import Any


def prompt_tokens(body: Mapping[str, Any], /) -> int:
    return int(body["size"])


def answer_tokens(body: Mapping[str, Any], expected: int | None, /) -> int:
    return (expected or 0) + len(body)
