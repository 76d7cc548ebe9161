"""What one answer can carry."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from common.portions import CHUNK, MOST_BYTES, portion_of

LAMBDAS_OWN_BYTES = 6_291_556


async def shown(sizes: Sequence[int], letter: str = "x", beside: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    async def show(chunk: Sequence[int]) -> list[dict[str, Any]]:
        return [{"text": letter * size} for size in chunk]

    return await portion_of(sizes, show, beside=beside)


async def test_all_is_shown_that_fits() -> None:
    assert len(await shown([1] * (2 * CHUNK + 1))) == 2 * CHUNK + 1


@pytest.mark.parametrize("letter", ["x", '"', "\n", "é"])
async def test_an_answer_is_weighed_as_it_travels(letter: str) -> None:
    portion = await shown([100_000] * 100, letter)

    wire = json.dumps({"body": json.dumps({"tasks": portion})})
    assert LAMBDAS_OWN_BYTES * 3 // 4 < len(wire) < LAMBDAS_OWN_BYTES


async def test_what_else_the_answer_holds_takes_its_room() -> None:
    alone = await shown([MOST_BYTES // 4] * 4)
    beside = await shown([MOST_BYTES // 4] * 4, beside={"ids": ["x" * (MOST_BYTES // 3)]})

    assert (len(alone), len(beside)) == (3, 2)


async def test_one_is_shown_even_where_it_does_not_fit() -> None:
    assert len(await shown([MOST_BYTES + 1, 1])) == 1
