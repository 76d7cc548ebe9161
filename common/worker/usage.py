"""Read what a provider says of the tokens that it billed, count by count."""

from collections.abc import Mapping
from typing import Any, Final

from common.domain.task import Usage

MOST_TOKENS: Final = 1_000_000_000
"""Tokens of one answer, at most: a count above it is nonsense, and would spoil every sum that it is booked in."""

_PROMPT: Final = ("prompt_tokens", "input_tokens")
_COMPLETION: Final = ("completion_tokens", "output_tokens")
_TOTAL: Final = ("total_tokens",)
_CACHED: Final = ("cached_tokens", "prompt_cache_hit_tokens")
_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")


class UsageAccumulator:
    """Collect the counts of all events of an answer: of each count, the last that is one.

    A count that is negative, huge, not whole or not a number is passed over, and the others are kept.
    """

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._completion: int | None = None
        self._total: int | None = None
        self._cached: int | None = None

    def add(self, raw: object) -> None:
        """Take a `usage` object; anything else is passed over."""
        if not isinstance(raw, dict):
            return
        self._prompt = _count(raw, _PROMPT, self._prompt)
        self._completion = _count(raw, _COMPLETION, self._completion)
        self._total = _count(raw, _TOTAL, self._total)
        self._cached = _count(raw, _CACHED, self._cached)
        for name in _DETAILS:
            if isinstance(details := raw.get(name), dict):
                self._cached = _count(details, _CACHED, self._cached)

    @property
    def usage(self) -> Usage | None:
        """Return the counts, a missing one made of the others; None where there is none."""
        prompt, completion, total = self._prompt, self._completion, self._total
        if total is not None and total < max(prompt or 0, completion or 0):
            total = None
        if prompt is None and completion is None and total is None:
            return None
        if prompt is None:
            prompt = 0 if total is None or completion is None else total - completion
        if completion is None:
            completion = 0 if total is None else total - prompt
        cached = self._cached or 0
        return Usage(prompt, completion, prompt + completion if total is None else total, min(cached, prompt))


def _count(raw: Mapping[str, Any], names: tuple[str, ...], known: int | None) -> int | None:
    for name in names:
        value = raw.get(name)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and 0 <= value <= MOST_TOKENS:
            return value
    return known
