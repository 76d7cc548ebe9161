"""Estimate the tokens and the cost of a file, by the service's rules of thumb."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

BYTES_PER_TOKEN: Final = 4
"""OpenAI's rule of thumb for English."""
DEFAULT_ANSWER_TOKENS: Final = 256
"""The length of an answer if neither the prompt nor the call limits it; the service reserves the same."""
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    output: Decimal

    @classmethod
    def of(cls, text: str) -> "Price":
        """Parse `INPUT:OUTPUT`, such as 0.25:2.00; raises ValueError."""
        try:
            price = cls(*map(Decimal, text.split(":")))
        except (InvalidOperation, TypeError):
            raise ValueError(text) from None
        if not all(each.is_finite() and each >= 0 for each in (price.input, price.output)):
            raise ValueError(text)
        return price


@dataclass(slots=True)
class Estimate:
    """Sum the estimated tokens of prompts; `options` are those of the call."""

    options: Mapping[str, Any]
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, prompt: Mapping[str, Any]) -> None:
        """Add one prompt."""
        parts = [prompt.get("system") or self.options.get("system"), prompt.get("prompt"), prompt.get("messages")]
        params = {**self.options.get("params", {}), **prompt.get("params", {})}
        parts += [params.get("tools"), params.get("response_format")]
        size = len(json.dumps([part for part in parts if part], ensure_ascii=False).encode(errors="replace"))
        self.input_tokens += size // BYTES_PER_TOKEN
        stated = (prompt.get("expected_tokens"), params.get("max_completion_tokens"), params.get("max_tokens"))
        limits = (count for count in stated if type(count) is int and count > 0)
        self.output_tokens += min(limits, default=DEFAULT_ANSWER_TOKENS)

    def usd(self, price: Price) -> Decimal:
        """Return the estimated cost in US dollars."""
        return (self.input_tokens * price.input + self.output_tokens * price.output) / _MILLION
