"""What a provider says of the tokens that it billed, count by count."""

import math
from typing import Any

import pytest

from common.domain.task import Usage
from common.worker.usage import MOST_TOKENS
from tests.unit.worker.completions import COUNTS, DONE, END, HELLO, Send, answer_in, both_ways, event, piece


@both_ways
@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (COUNTS, Usage(3, 2, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 5}, Usage(7, 5, 12)),
        ({"prompt_tokens": 7.0, "completion_tokens": 5.0, "total_tokens": 12.0}, Usage(7, 5, 12)),
        ({"prompt_tokens": 7, "completion_tokens": None, "total_tokens": 12}, Usage(7, 5, 12)),
        ({"prompt_tokens": None, "completion_tokens": 5, "total_tokens": 12}, Usage(7, 5, 12)),
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": None}, Usage(7, 5, 12)),
        ({"prompt_tokens": 7}, Usage(7, 0, 7)),
        ({"completion_tokens": 5}, Usage(0, 5, 5)),
        ({"total_tokens": 12}, Usage(0, 12, 12)),
        ({"input_tokens": 7, "output_tokens": 5}, Usage(7, 5, 12)),
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 20}, Usage(7, 5, 20)),
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 0}, Usage(7, 5, 12)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0)),
        (None, None),
        ({}, None),
        ([], None),
        ([7], None),
        ("many", None),
        ({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, None),
        ({"prompt_tokens": "many"}, None),
    ],
)
def test_a_count_that_is_missing_is_made_of_the_others(send: Send, raw: object, usage: Usage | None) -> None:
    assert answer_in(send({"content": "Hello"}, usage=raw)).usage == usage


@both_ways
@pytest.mark.parametrize("odd", [-1, MOST_TOKENS + 1, 10**400, 1e300, 7.5, math.nan, math.inf, "5", True, [5], {}])
def test_a_count_that_is_none_is_left_out_and_the_others_are_booked(send: Send, odd: object) -> None:
    def usage(**raw: object) -> Usage | None:
        return answer_in(send({"content": "Hello"}, usage=raw)).usage

    assert usage(prompt_tokens=odd, completion_tokens=5, total_tokens=12) == Usage(7, 5, 12)
    assert usage(prompt_tokens=7, completion_tokens=odd, total_tokens=12) == Usage(7, 5, 12)
    assert usage(prompt_tokens=7, completion_tokens=5, total_tokens=odd) == Usage(7, 5, 12)
    assert usage(**COUNTS, prompt_tokens_details={"cached_tokens": odd}) == Usage(3, 2, 5)
    assert usage(prompt_tokens=odd, completion_tokens=odd, total_tokens=odd) is None


@both_ways
@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_tokens_details": {"cached_tokens": 2}},
        {"prompt_tokens_details": {"cached_tokens": 2.0}},
        {"input_tokens_details": {"cached_tokens": 2}},
        {"prompt_tokens_details": None, "cached_tokens": 2},
        {"prompt_tokens_details": {"cached_tokens": None}, "prompt_cache_hit_tokens": 2},
    ],
)
def test_cached_tokens_are_found_where_providers_put_them(send: Send, fields: dict[str, Any]) -> None:
    assert answer_in(send({"content": "Hello"}, usage=COUNTS | fields)).usage == Usage(3, 2, 5, 2)


@both_ways
def test_there_are_no_more_cached_tokens_than_tokens_of_the_prompt(send: Send) -> None:
    usage = COUNTS | {"prompt_tokens_details": {"cached_tokens": 99}}

    assert answer_in(send({"content": "Hello"}, usage=usage)).usage == Usage(3, 2, 5, 3)


def test_the_usage_may_stand_in_the_choice() -> None:
    end = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "usage": COUNTS}])

    assert answer_in(HELLO, end, DONE).usage == Usage(3, 2, 5)


def test_of_a_usage_in_every_chunk_the_last_count_of_each_kind_is_taken() -> None:
    parts = [
        piece("Hel") + event(usage={"prompt_tokens": 3}),
        piece("lo") + event(usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}),
        END + event(choices=[], usage={"prompt_tokens": None, "completion_tokens": 2, "total_tokens": 5}),
        event(choices=[], usage=None),
    ]

    assert answer_in(*parts, DONE).usage == Usage(3, 2, 5)
