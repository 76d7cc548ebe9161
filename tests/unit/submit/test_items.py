"""The items of a call: how many, how large, and no name twice."""

import json
from typing import Any

import pytest

from common.api.json_body import MAX_ERRORS
from common.domain.errors import InvalidItems, RequestTooLarge
from common.submission.limits import Limits
from functions.submit.parsing import MOST_CALL_BYTES, parse_call
from tests.requests import chat
from tests.unit.submit.calls import LIMITS, only, prompts, refusal


@pytest.mark.parametrize(
    "document",
    [
        {"template": "x" * 200_000 + "{a}", "inputs": [{"a": "y"}] * 1_000},
        {"prompts": ["y"] * 1_000, "system": "x" * 200_000},
    ],
)
def test_a_small_request_cannot_become_a_huge_call(document: dict[str, Any]) -> None:
    with pytest.raises(RequestTooLarge) as caught:
        parse_call(document, Limits(("m",), 1_000, 262_144, 60, 100))

    assert caught.value.code == "request_too_large"
    assert caught.value.detail == (
        "does not fit: the prompts before it fill the 20000000 bytes that a call may take in the queue"
    )
    assert str(caught.value.pointer).endswith("/99")


def test_names_that_no_answer_could_carry_are_refused_before_anything_is_accepted() -> None:
    def named(count: int) -> dict[str, Any]:
        return {"prompts": [{"prompt": "x", "custom_id": f"{n:05}{'😀' * 251}"} for n in range(count)]}

    limits = Limits(("m",), 10_000, 262_144, 60, 100)

    # A thousand are what a call takes unless the operator allows more
    assert len(parse_call(named(1_000), limits).prompts) == 1_000
    with pytest.raises(RequestTooLarge) as caught:
        parse_call(named(1_100), limits)
    assert caught.value.code == "request_too_large"
    assert str(caught.value.pointer).endswith("/custom_id")


def test_a_call_may_take_up_all_its_bytes() -> None:
    each = 250_000
    text = "x" * (each - len(json.dumps(chat("").body, separators=(",", ":"))))
    count = MOST_CALL_BYTES // each

    call = parse_call({"prompts": [text] * count}, Limits(("m",), 1_000, each, 60, 100))

    assert (len(call.prompts), count * each) == (count, MOST_CALL_BYTES)


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        ({"template": "{a}", "inputs": []}, "/inputs", "no_prompts"),
        ({"template": "{a}", "inputs": [{"a": "x"}] * 6}, "/inputs", "too_many_prompts"),
        ({"template": "{a}", "inputs": [{"a": "x" * 300}]}, "/inputs/0", "prompt_too_large"),
        (
            {"template": "{a}", "inputs": [{"a": "x", "custom_id": "i"}, {"a": "y", "custom_id": "i"}]},
            "/inputs/1/custom_id",
            "duplicate_custom_id",
        ),
        (prompts(), "/prompts", "no_prompts"),
        (prompts(*"abcdef"), "/prompts", "too_many_prompts"),
        (prompts("x" * 300), "/prompts/0", "prompt_too_large"),
    ],
)
def test_a_breach_in_the_items_is_refused_by_its_place(document: object, pointer: str | None, code: str) -> None:
    error = refusal(document)

    assert (error.pointer, error.code) == (pointer, code)
    assert error.status == (413 if code in {"too_many_prompts", "prompt_too_large"} else 400)


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        (prompts(), "must not be empty"),
        (prompts(*"abcdef"), "has 6 items; a call takes at most 5"),
        (prompts("x" * 300), "takes 343 bytes in the queue, with its params; a prompt may take 300"),
    ],
)
def test_a_refusal_says_how_many_and_how_large(document: object, detail: str) -> None:
    assert refusal(document).detail == detail


def test_a_repeated_custom_id_is_refused_at_its_second_place() -> None:
    error = refusal(prompts({"prompt": "a", "custom_id": "x"}, "b", {"prompt": "c", "custom_id": "x"}))

    assert (error.pointer, error.code) == ("/prompts/2/custom_id", "duplicate_custom_id")
    assert "/prompts/0" in error.detail


@pytest.mark.parametrize(("letter", "bytes_each"), [("a", 1), ('"', 2), ("é", 6), ("😀", 12), ("\0", 6)])
def test_a_prompt_is_measured_as_it_is_queued(letter: str, bytes_each: int) -> None:
    frame = len(json.dumps(chat("").body, separators=(",", ":")))
    fits = (LIMITS.most_prompt_bytes - frame) // bytes_each

    only(prompts(letter * fits))
    assert refusal(prompts(letter * (fits + 1))).code == "prompt_too_large"


def test_the_system_prompt_and_the_params_count_too() -> None:
    for extra in ({"system": "s" * 200}, {"params": {"user": "u" * 200}}):
        assert refusal({**prompts("x" * 100), **extra}).code == "prompt_too_large"


def test_each_bad_prompt_is_named_and_the_good_ones_are_not() -> None:
    error = refusal(prompts("a", "", {"prompt": "b", "model": "huge"}, "c"))

    assert isinstance(error, InvalidItems)
    assert [fault.pointer for fault in error.errors] == ["/prompts/1/prompt", "/prompts/2/model"]
    assert error.code == "invalid_request"


def test_no_more_faults_are_named_than_a_person_reads() -> None:
    limits = Limits(("m",), 1_000, 300, 60, 100)

    with pytest.raises(InvalidItems) as caught:
        parse_call(prompts(*[""] * 1_000), limits)

    assert len(caught.value.errors) == MAX_ERRORS
