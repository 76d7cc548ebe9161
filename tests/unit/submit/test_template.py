"""One template and many inputs make many prompts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import InvalidRequest, RequestTooLarge
from functions.submit.template import read_template


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ("Write about {topic}.", {"topic": "a forest"}, "Write about a forest."),
        ("{a}{b}{a}", {"a": "x", "b": "y"}, "xyx"),
        ("{{{a}}} and {{b}}", {"a": "x"}, "{x} and {b}"),
        ("{a}", {"a": "{b} {{c}} {0}"}, "{b} {{c}} {0}"),
        ("{n} and {x}", {"n": 3, "x": 0.5}, "3 and 0.5"),
        ("{_a1}", {"_a1": "x", "custom_id": "mine"}, "x"),
        ("{custom_id}", {"custom_id": "mine"}, "mine"),
    ],
)
def test_variables_are_replaced_and_nothing_else(text: str, values: dict[str, object], filled: str) -> None:
    assert read_template(text).fill(values, "/inputs/0", most=99) == filled


@pytest.mark.parametrize(
    "text",
    [
        *("{a.b}", "{a[0]}", "{a!r}", "{a:>10}", "{a:{b}}", "{}", "{0}", "{ a }", "{a b}", "{1a}", "{é}"),
        *("{a", "a}", "{", "}", "{a}}", "{{a}", "{a{b}}", "{" + "a" * 65 + "}"),
        *("", "no variable", "{{a}}"),
    ],
)
def test_anything_but_a_name_in_braces_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_template(text)

    assert (caught.value.pointer, caught.value.code) == ("/template", "invalid_template")


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ({"a": "x"}, "/inputs/3/b", "missing_variable"),
        ({}, "/inputs/3/a", "missing_variable"),
        ({"a": "x", "b": "y", "c": "z"}, "/inputs/3/c", "unused_variable"),
        ({"a": "x", "b": "y", "~/": "z"}, "/inputs/3/~0~1", "unused_variable"),
        *(({"a": "x", "b": wrong}, "/inputs/3/b", "invalid_value") for wrong in (None, True, ["y"], {"y": 1})),
    ],
)
def test_an_input_has_each_variable_and_no_other(values: dict[str, object], pointer: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_template("{a} {b}").fill(values, "/inputs/3", most=99)

    assert (caught.value.pointer, caught.value.code) == (pointer, code)


def test_a_prompt_that_would_be_too_large_is_refused_before_it_is_made() -> None:
    values = {"a": "x" * 10_000_000}  # a terabyte in all
    template = read_template("{a}" * 100_000)

    with pytest.raises(RequestTooLarge) as caught:
        template.fill(values, "/inputs/3", most=300)

    assert (caught.value.pointer, caught.value.code) == ("/inputs/3", "prompt_too_large")
    assert read_template("{a}{a}").fill({"a": "xy"}, "", most=4) == "xyxy"


@given(st.text(alphabet="{}ab!:.[]0 ", max_size=12))
def test_what_is_taken_reads_as_python_formats_it(text: str) -> None:
    try:
        template = read_template(text)
    except InvalidRequest:
        return
    values = dict.fromkeys(template.variables, "{x}")

    assert template.fill(values, "", most=99) == text.format(**values)
