"""Compute what an answer costs, from one table: prices.json beside this module. Standard library only.

Money is whole nano-dollars, see common.domain.spending.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from common.domain.errors import SettingError
from common.domain.spending import NANOS_PER_USD
from common.domain.task import Usage

FILE: Final = Path(__file__).with_name("prices.json")
UNIT: Final = "USD per million tokens"
_NANOS_PER_TOKEN: Final = NANOS_PER_USD // 1_000_000
"""What a price of one dollar per million tokens is for one token."""

_MOST_USD: Final = 1_000_000
"""A price above this is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Price:
    """Hold a model's prices in nano-dollars a token; `cached_input` is for what the provider had in its cache.

    A model of embeddings has a price of its input alone.
    """

    input: int
    cached_input: int
    output: int

    def of(self, usage: Usage) -> int:
        """Return the nano-dollars that an answer costs."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        fresh = usage.prompt_tokens - cached
        return fresh * self.input + cached * self.cached_input + usage.completion_tokens * self.output


@dataclass(frozen=True, slots=True)
class Prices:
    """Hold the prices of the models that the table names."""

    by_model: Mapping[str, Price]

    def cost_nanos(self, model: str, usage: Usage | None) -> int | None:
        """Return what an answer costs; None where the table has no price or the provider reported no usage."""
        price = self.by_model.get(model)
        return None if price is None or usage is None else price.of(usage)


NO_PRICES: Final = Prices({})
"""What is used where money does not matter."""


def read_prices(file: Path = FILE) -> Prices:
    """Read the table.

    Raises:
        SettingError: it is not what it should be; it has the file's name and the place.

    """
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SettingError(file.name, "must be a file of JSON") from None
    if not isinstance(table, dict) or table.get("unit") != UNIT or not isinstance(table.get("models"), dict):
        raise SettingError(file.name, f"must have `models`, and `unit` as {UNIT!r}")
    try:
        date.fromisoformat(table["dated"])
    except (KeyError, TypeError, ValueError):
        raise SettingError(file.name, "must say in `dated` of which day its prices are, as 2026-11-21") from None
    return Prices({model: _price(file.name, model, fields) for model, fields in table["models"].items()})


def _price(name: str, model: str, fields: Any) -> Price:  # noqa: ANN401  # any JSON value
    if not isinstance(fields, dict) or set(fields) not in ({"input", "cached_input", "output"}, {"input"}):
        rule = f"must give {model} `input`, `cached_input` and `output`, or `input` alone, and nothing else"
        raise SettingError(name, rule)
    nanos = {kind: _nanos(name, f"{model}.{kind}", usd) for kind, usd in fields.items()}
    return Price(nanos["input"], nanos.get("cached_input", nanos["input"]), nanos.get("output", 0))


def _nanos(name: str, place: str, usd: object) -> int:
    rule = f"must have {place} as text, a decimal number of dollars with at most three places"
    try:
        nanos = Decimal(usd) * _NANOS_PER_TOKEN if isinstance(usd, str) else Decimal("NaN")
    except InvalidOperation:
        raise SettingError(name, rule) from None
    if not nanos.is_finite() or not 0 <= nanos <= _MOST_USD * _NANOS_PER_TOKEN or nanos % 1:
        raise SettingError(name, rule)
    return int(nanos)
