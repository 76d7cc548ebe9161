"""Test the price table and the cost of an answer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from common.domain.errors import SettingError
from common.domain.prices import Price, read_prices
from common.domain.spending import usd_of
from common.domain.task import Usage

ROOT = Path(__file__).parents[3]
TABLE: dict[str, Any] = {
    "dated": "2026-11-21",
    "unit": "USD per million tokens",
    "models": {"small": {"input": "0.25", "cached_input": "0.025", "output": "2.00"}},
}


def written(folder: Path, content: object) -> Path:
    file = folder / "prices.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_the_table_that_ships_has_a_price_for_each_model_that_is_allowed_by_default() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    found = re.search(r"AllowedModels:\n(?: {4}.*\n)*? {4}Default: (\S+)", template)

    assert found
    assert set(read_prices().by_model) == set(found[1].split(","))


def test_a_million_tokens_cost_what_the_table_says(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, TABLE))

    assert prices.by_model == {"small": Price(input=250, cached_input=25, output=2_000)}
    assert usd_of(prices.cost_nanos("small", Usage(1_000_000, 0, 1_000_000)) or 0) == "0.25"
    assert usd_of(prices.cost_nanos("small", Usage(1_000_000, 0, 1_000_000, 1_000_000)) or 0) == "0.025"
    assert usd_of(prices.cost_nanos("small", Usage(0, 1_000_000, 1_000_000)) or 0) == "2.00"


def test_an_answer_costs_its_fresh_its_cached_and_its_own_tokens(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, TABLE))

    assert prices.cost_nanos("small", Usage(100, 10, 110, 40)) == 60 * 250 + 40 * 25 + 10 * 2_000
    assert prices.cost_nanos("small", Usage(100, 10, 110, 400)) == 100 * 25 + 10 * 2_000, "no more than there were"


def test_without_a_price_or_a_usage_the_cost_is_not_known(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, TABLE))

    assert prices.cost_nanos("large", Usage(1, 1, 2)) is None
    assert prices.cost_nanos("small", None) is None


@pytest.mark.parametrize(
    ("nanos", "usd"), [(0, "0.00"), (1, "0.000000001"), (1_100_000_000, "1.10"), (12_345_678_901, "12.345678901")]
)
def test_money_is_written_exactly(nanos: int, usd: str) -> None:
    assert usd_of(nanos) == usd


def test_a_model_of_embeddings_has_a_price_of_its_input_alone(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, {**TABLE, "models": {"embedder": {"input": "0.02"}}}))

    assert prices.cost_nanos("embedder", Usage(1_000, 0, 1_000, 400)) == 20_000


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{", "must be a file of JSON"),
        ([], "must have `models`"),
        ({**TABLE, "unit": "USD per thousand tokens"}, "must have `models`, and `unit`"),
        ({**TABLE, "models": []}, "must have `models`"),
        ({**TABLE, "dated": "yesterday"}, "`dated`"),
        ({**TABLE, "dated": None}, "`dated`"),
        ({**TABLE, "models": {"small": {"input": "1", "output": "1"}}}, "must give small"),
        ({**TABLE, "models": {"small": {"input": "1", "cached_input": "1", "output": "1", "x": "1"}}}, "nothing else"),
        *(
            ({**TABLE, "models": {"small": {"input": wrong, "cached_input": "1", "output": "1"}}}, "small.input")
            for wrong in (1, 0.25, "", "free", "-1", "NaN", "Infinity", "0.0001", "1e9")
        ),
    ],
)
def test_a_wrong_table_stops_the_start_and_says_where(tmp_path: Path, content: object, rule: str) -> None:
    with pytest.raises(SettingError, match=re.escape(rule)) as caught:
        read_prices(written(tmp_path, content))

    assert caught.value.name == "prices.json"


def test_a_table_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError):
        read_prices(tmp_path / "prices.json")
