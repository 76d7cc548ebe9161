"""Test the size limit of a response."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.api.pagination import CHUNK, MOST_BYTES, MOST_BYTES_PER_CHARACTER, cut, fill_page, fitting, size_of

LAMBDAS_OWN_BYTES = 6_291_556


async def shown(sizes: Sequence[int], letter: str = "x", beside: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    async def show(chunk: Sequence[int]) -> list[dict[str, Any]]:
        return [{"text": letter * size} for size in chunk]

    return await fill_page(sizes, show, beside=beside)


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


async def test_one_that_never_fits_is_an_error_in_its_place_and_its_neighbours_are_shown() -> None:
    async def show(sizes: Sequence[int]) -> list[dict[str, Any]]:
        return [{"task_id": str(size), "status": "completed", "result": "x" * size} for size in sizes]

    sizes = [1, MOST_BYTES, 2, MOST_BYTES + 1]
    portion = await fill_page(sizes, show)

    assert [each["task_id"] for each in portion] == [str(size) for size in sizes]
    assert [each.get("result") for each in portion] == ["x", None, "xx", None]
    for each in portion[1], portion[3]:
        assert each.keys() == {"task_id", "status", "error"}
        assert each["error"]["code"] == "answer_too_large"


@pytest.mark.parametrize(
    "large",
    [
        {"tool_calls": [{"id": "x" * MOST_BYTES}]},
        {"finish_reason": "x" * MOST_BYTES},
        {"partial_result": "x" * MOST_BYTES},
    ],
)
def test_whatever_makes_a_task_too_large_is_left_out(large: dict[str, Any]) -> None:
    shown = fitting({"task_id": "a", "status": "completed", "usage": {"total_tokens": 3}, "result": "x", **large})

    assert shown == {"task_id": "a", "status": "completed", "usage": {"total_tokens": 3}, "error": shown["error"]}


@pytest.mark.parametrize("text", ["x", '"', "\n", "é", "😀", "\\", "\0", "x" * 40 + "😀" * 60])
@pytest.mark.parametrize("most", [1_000, 100_000])
def test_the_beginning_of_a_text_is_cut_to_what_travels(text: str, most: int) -> None:
    whole = text * (200_000 // len(text))

    beginning = cut(whole, most)

    assert whole.startswith(beginning)
    assert most * 0.8 < size_of({"": beginning}) <= most
    assert cut(beginning, most) == beginning


@given(st.text(max_size=50))
def test_no_character_takes_more_bytes_than_the_bound_of_the_partial_text_counts(text: str) -> None:
    assert size_of({"": text}) - size_of({"": ""}) <= MOST_BYTES_PER_CHARACTER * len(text)
