"""Strict JSON: what the parser would let through is refused by its place."""

import base64

import pytest

from common.api.json_body import MAX_DEPTH, MAX_ERRORS, pointer_to, read_body
from common.domain.errors import CallerError, InvalidItems


def refusal(body: str | None, *, is_base64: bool = False) -> CallerError:
    with pytest.raises(CallerError) as caught:
        read_body(body, is_base64=is_base64)
    return caught.value


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, "empty_body"),
        ("", "empty_body"),
        (" \n", "empty_body"),
        ("prompt=hello", "malformed_json"),
        ('{"prompts": ["a"]', "malformed_json"),
        ('{"prompts": ["a"]} x', "malformed_json"),
        ("{'prompts': []}", "malformed_json"),
        ('\ufeff{"prompts": ["a"]}', "malformed_json"),
        ('{"prompts": ["a\nb"]}', "malformed_json"),
        ("[" * 100_000, "too_deep"),
        (nested(100_000), "too_deep"),
    ],
)
def test_a_body_that_is_no_json_is_refused_as_a_whole(body: str | None, code: str) -> None:
    error = refusal(body)

    assert (error.status, error.code, error.pointer) == (400, code, None)


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (r'{"prompts": ["fine", "half \ud83d"]}', "/prompts/1", "lone_surrogate"),
        (r'{"prompts": [{"prompt": "\udc00"}]}', "/prompts/0/prompt", "lone_surrogate"),
        (r'{"prompts": [{"\ud800": 1}]}', "/prompts/0", "lone_surrogate"),
        ('{"prompts": ["\ud800"]}', "/prompts/0", "lone_surrogate"),
        ('{"params": {"seed": NaN}}', "/params/seed", "number_out_of_range"),
        ('{"params": {"seed": -Infinity}}', "/params/seed", "number_out_of_range"),
        ('{"params": {"top_p": 1e999}}', "/params/top_p", "number_out_of_range"),
        ('{"params": {"seed": 12345678901234567890}}', "/params/seed", "number_out_of_range"),
        ('{"params": {"seed": -%s}}' % ("9" * 5_000), "/params/seed", "number_out_of_range"),
        ('{"prompts": [{"prompt": "a", "prompt": "b"}]}', "/prompts/0", "repeated_field"),
        ('{"a/b": {"c~d": NaN}}', "/a~1b/c~0d", "number_out_of_range"),
        (nested(MAX_DEPTH + 1), "/0" * MAX_DEPTH, "too_deep"),
    ],
)
def test_json_that_would_break_something_later_is_refused_by_its_place(body: str, pointer: str, code: str) -> None:
    error = refusal(body)

    assert (error.status, error.code, error.pointer) == (400, code, pointer)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("", "the body must be a JSON object; it is empty"),
        ('{"a":\n  b}', "the body is not JSON: see line 2, column 3"),
        ("[" * 100_000, "must not be nested deeper than 64 levels"),
        (nested(MAX_DEPTH + 1), "must not be nested deeper than 64 levels"),
        ('{"a": 1, "a": 2}', "must not name a field twice"),
        ("[1e999]", "must be a finite number, a whole one of at most 19 digits"),
        (r'["\ud800"]', "must be Unicode text: it contains an unpaired surrogate"),
        (r'{"\ud800": 1}', "must be Unicode text: it contains an unpaired surrogate"),
    ],
)
def test_a_refusal_says_the_rule(body: str, detail: str) -> None:
    assert refusal(body).detail == detail


def test_all_that_json_rightly_holds_is_read() -> None:
    body = r'{"a": ["é", "\u00e9", "😀", "\ud83d\ude00", "\u0000", "\u202e"], "b": [-9223372036854775808, 1.5, true]}'

    assert read_body(body, is_base64=False) == {
        "a": ["é", "é", "😀", "😀", "\0", "\u202e"],
        "b": [-9223372036854775808, 1.5, True],
    }


def test_nesting_up_to_the_limit_is_read() -> None:
    assert read_body(nested(MAX_DEPTH), is_base64=False) is not None


def test_a_body_in_base64_is_read() -> None:
    assert read_body(base64.b64encode('["é"]'.encode()).decode(), is_base64=True) == ["é"]


@pytest.mark.parametrize(
    "body",
    [
        "not base64!",
        "YQ",
        "WyJh!Il0=",
        base64.b64encode(b'["\xff"]').decode(),
        base64.b64encode('["a"]'.encode("utf-16")).decode(),
        "é",
    ],
)
def test_a_body_that_is_not_utf_8_is_refused(body: str) -> None:
    error = refusal(body, is_base64=True)

    assert (error.code, error.detail) == ("not_utf8", "the body must be JSON in UTF-8")


def test_many_faults_are_named_together_up_to_a_limit() -> None:
    error = refusal(f"[{','.join(['NaN'] * 50)}]")

    assert isinstance(error, InvalidItems)
    assert [fault.pointer for fault in error.errors] == [f"/{index}" for index in range(MAX_ERRORS)]
    assert (error.status, error.code) == (400, "number_out_of_range")


def test_a_refusal_never_quotes_the_body() -> None:
    for body in ('{"prompts": ["secret" "secret"]}', '"secret', r'["secret \q"]', "secret"):
        error = refusal(body)

        assert "secret" not in str(error)
        assert error.__suppress_context__


def test_a_long_name_is_cut_in_a_pointer() -> None:
    assert pointer_to("", "x" * 64) == "/" + "x" * 64
    assert pointer_to("", "x" * 500) == "/" + "x" * 64 + "…"
