"""The rules of a call: each breach is a 4xx that names the item."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.domain.errors import CallerError, InvalidItems
from common.kinds.chat.validation import RESERVED_PARAMS
from common.submission.limits import Limits
from common.submission.model import Prompt, SubmitCall
from functions.submit.parsing import parse_call
from tests.requests import chat, conversation, messages_of
from tests.unit.submit.calls import LIMITS, only, prompts, refusal, system, user


def test_a_plain_string_is_a_prompt_for_the_default_model() -> None:
    assert parse_call({"prompts": ["Tell me"]}, LIMITS) == SubmitCall(
        (Prompt("small", request=chat("Tell me")),), 60, 100
    )


def test_a_prompt_may_say_everything_for_itself() -> None:
    said = {
        "prompt": "Tell me",
        "custom_id": "mine",
        "model": "large",
        "system": "Be brief",
        "params": {"temperature": 0, "new_param": [1]},
        "expected_tokens": 50,
    }

    assert only({"prompts": [said]}) == Prompt(
        "large",
        request=conversation([system("Be brief"), user("Tell me")], temperature=0, new_param=[1]),
        custom_id="mine",
        expected_tokens=50,
    )


def test_what_a_prompt_says_wins_over_what_the_call_says() -> None:
    call = {
        "prompts": [{"prompt": "a", "model": "small", "system": "Mine", "params": {"top_p": 0.5}}, "b"],
        "model": "large",
        "system": "Yours",
        "params": {"top_p": 1, "seed": 7},
    }

    first, second = parse_call(call, LIMITS).prompts

    assert first == Prompt("small", request=conversation([system("Mine"), user("a")], top_p=0.5, seed=7))
    assert second == Prompt("large", request=conversation([system("Yours"), user("b")], top_p=1, seed=7))


def test_a_template_makes_a_prompt_of_each_input() -> None:
    call = parse_call(
        {
            "template": "Write about {topic}.",
            "inputs": [{"topic": "a forest", "custom_id": "first"}, {"topic": 7}],
            "system": "Be brief",
            "model": "large",
        },
        LIMITS,
    )

    assert call.prompts == (
        Prompt("large", request=conversation([system("Be brief"), user("Write about a forest.")]), custom_id="first"),
        Prompt("large", request=conversation([system("Be brief"), user("Write about 7.")])),
    )


def test_each_bad_input_is_named() -> None:
    error = refusal({"template": "{a}", "inputs": [{}, {"a": "x"}, {"a": "x", "b": "y"}]})

    assert isinstance(error, InvalidItems)
    assert [fault.pointer for fault in error.errors] == ["/inputs/0/a", "/inputs/2/b"]


def test_the_metadata_of_a_call_is_kept() -> None:
    assert parse_call({"prompts": ["a"], "metadata": {"run": "7"}}, LIMITS).metadata == {"run": "7"}


def test_null_is_the_same_as_nothing() -> None:
    names = ("messages", "custom_id", "model", "system", "params", "expected_tokens")
    call = {"prompts": [{"prompt": "a", **dict.fromkeys(names)}], "model": None, "deadline_seconds": None}

    assert parse_call(call, LIMITS) == parse_call({"prompts": ["a"]}, LIMITS)


@pytest.mark.parametrize("seconds", [1, 100])
def test_the_deadline_may_be_set_within_its_limits(seconds: int) -> None:
    assert parse_call({"prompts": ["a"], "deadline_seconds": seconds}, LIMITS).deadline_seconds == seconds


def test_an_ended_task_is_kept_for_as_long_as_the_call_says() -> None:
    for seconds in (3_600, 2_592_000):
        assert parse_call({"prompts": ["a"], "retention_seconds": seconds}, LIMITS).retention_seconds == seconds


def test_a_retention_allows_for_a_later_deadline_and_cuts_the_one_that_nobody_set() -> None:
    limits = Limits(("m",), 5, 300, deadline_seconds=21_600, retention_seconds=86_400)

    for said, deadline in (
        ({"retention_seconds": 864_000, "deadline_seconds": 777_600}, 777_600),
        ({"retention_seconds": 864_000}, 21_600),
        ({"retention_seconds": 3_600}, 3_600),
    ):
        assert parse_call({"prompts": ["a"], **said}, limits).deadline_seconds == deadline


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        ([], None, "invalid_value"),
        ("text", None, "invalid_value"),
        (None, None, "invalid_value"),
        ({}, "", "invalid_value"),
        ({"prompts": None}, "", "invalid_value"),
        ({"template": "{a}"}, "", "invalid_value"),
        ({"inputs": [{"a": "x"}]}, "", "invalid_value"),
        ({"prompts": ["a"], "template": "{a}", "inputs": [{"a": "x"}]}, "", "invalid_value"),
        ({"prompts": ["a"], "inputs": []}, "", "invalid_value"),
        ({"template": "{a}", "inputs": ["x"]}, "/inputs/0", "invalid_value"),
        ({"template": 1, "inputs": [{"a": "x"}]}, "/template", "invalid_value"),
        ({"template": "{a.b}", "inputs": [{"a": "x"}]}, "/template", "invalid_template"),
        ({"template": "{a}", "inputs": [{"a": "x"}, {"b": "x"}]}, "/inputs/1/a", "missing_variable"),
        ({"template": "{a}", "inputs": [{"a": " "}]}, "/inputs/0", "blank_text"),
        ({"template": "{a}", "inputs": [{"a": "x", "custom_id": 1}]}, "/inputs/0/custom_id", "invalid_value"),
        ({"prompts": "text"}, "/prompts", "invalid_value"),
        ({"prompts": ["a"], "metadata": {"a": 1}}, "/metadata", "invalid_value"),
        ({"prompts": ["a"], "metadata": {str(n): "" for n in range(17)}}, "/metadata", "invalid_value"),
        ({"prompts": ["a"], "metadata": {"n" * 65: ""}}, "/metadata", "invalid_value"),
        ({"prompts": ["a"], "webhook": {"url": "x", "n" * 999: 1}}, f"/webhook/{'n' * 64}…", "unknown_field"),
        ({"prompts": ["a"], "model": "huge"}, "/model", "model_not_allowed"),
        ({"prompts": ["a"], "model": ""}, "/model", "invalid_value"),
        ({"prompts": ["a"], "model": 1}, "/model", "invalid_value"),
        ({"prompts": ["a"], "system": " "}, "/system", "blank_text"),
        ({"prompts": ["a"], "deadline_seconds": 0}, "/deadline_seconds", "invalid_value"),
        ({"prompts": ["a"], "deadline_seconds": 101}, "/deadline_seconds", "invalid_value"),
        ({"prompts": ["a"], "retention_seconds": 3_599}, "/retention_seconds", "invalid_value"),
        ({"prompts": ["a"], "retention_seconds": 2_592_001}, "/retention_seconds", "invalid_value"),
        (
            {"prompts": ["a"], "retention_seconds": 3_600, "deadline_seconds": 3_601},
            "/deadline_seconds",
            "invalid_value",
        ),
        (
            {"prompts": ["a"], "retention_seconds": 2_592_000, "deadline_seconds": 777_601},
            "/deadline_seconds",
            "invalid_value",
        ),
        ({"prompts": ["a"], "deadline_seconds": 1.5}, "/deadline_seconds", "invalid_value"),
        ({"prompts": ["a"], "deadline_seconds": True}, "/deadline_seconds", "invalid_value"),
        ({"prompts": ["a"], "params": {"temperature": 2.1}}, "/params/temperature", "invalid_value"),
        (prompts("a", 1), "/prompts/1", "invalid_value"),
        (prompts("a", None), "/prompts/1", "invalid_value"),
        (prompts("a", ["b"]), "/prompts/1", "invalid_value"),
        (prompts({"prompt": "a", "tone": "x"}), "/prompts/0/tone", "unknown_field"),
        (prompts({"prompt": "a", "custom_id": ""}), "/prompts/0/custom_id", "invalid_value"),
        (prompts({"prompt": "a", "custom_id": "x" * 257}), "/prompts/0/custom_id", "invalid_value"),
        (prompts({"prompt": "a", "model": "huge"}), "/prompts/0/model", "model_not_allowed"),
        (prompts({"prompt": "a", "expected_tokens": 0}), "/prompts/0/expected_tokens", "invalid_value"),
        (prompts({"prompt": "a", "expected_tokens": 128_001}), "/prompts/0/expected_tokens", "invalid_value"),
        (prompts({"prompt": "a", "params": {"tools": []}}), "/prompts/0/params/tools", "invalid_value"),
        (prompts({"prompt": "a", "params": {"tools": ["a"]}}), "/prompts/0/params/tools/0", "invalid_value"),
        (prompts({"prompt": "a", "params": {"tool_choice": 1}}), "/prompts/0/params/tool_choice", "invalid_value"),
        (prompts({"prompt": "a", "params": []}), "/prompts/0/params", "invalid_value"),
        (prompts({"prompt": "a", "params": {"max_tokens": 0}}), "/prompts/0/params/max_tokens", "invalid_value"),
        (prompts({"prompt": "a", "params": {"max_tokens": "9"}}), "/prompts/0/params/max_tokens", "invalid_value"),
        (prompts({"prompt": "a", "params": {"top_p": True}}), "/prompts/0/params/top_p", "invalid_value"),
        (prompts({"prompt": "a", "params": {"stop": [1]}}), "/prompts/0/params/stop/0", "invalid_value"),
        (prompts({"prompt": "a", "params": {"stop": ["a"] * 5}}), "/prompts/0/params/stop", "invalid_value"),
    ],
)
def test_a_breach_is_refused_by_its_place(document: object, pointer: str | None, code: str) -> None:
    error = refusal(document)

    assert (error.pointer, error.code) == (pointer, code)
    assert error.status == 400


def test_a_template_longer_than_a_prompt_may_be_is_refused_before_it_is_read() -> None:
    error = refusal({"template": "{a}" * 101, "inputs": [{"a": ""}]})

    assert (error.status, error.pointer, error.code) == (413, "/template", "prompt_too_large")


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ([], "the body must be a JSON object with `prompts`"),
        ({}, "must have either `prompts`, or `template` with `inputs`, or `endpoint` with `requests`"),
        ({"prompts": ["a"], "deadline_seconds": 101}, "must be at most the retention, which is 100"),
        ({"prompts": ["a"], "model": "huge"}, "must be one of small, large"),
        ({"prompts": ["a"], "system": " "}, "must not be blank"),
        ({"prompts": ["a"], "params": {"stream": True}}, RESERVED_PARAMS["stream"]),
        ({"prompts": ["a"], "params": {"seed": "x"}}, "Expected `int | null`, got `str`"),
        (prompts(1), "must be a string or an object"),
        (
            prompts({"prompt": "a", "tone": "x"}),
            "is not a field here; there are prompt, messages, custom_id, model, system, params, expected_tokens",
        ),
        ({"template": "{a}", "inputs": [{"a": " "}]}, "must not make a blank prompt"),
    ],
)
def test_a_refusal_says_the_rule(document: object, detail: str) -> None:
    assert refusal(document).detail == detail


@pytest.mark.parametrize("name", sorted(RESERVED_PARAMS))
def test_a_reserved_param_is_refused_by_its_name(name: str) -> None:
    for document, place in (
        ({"prompts": ["a"], "params": {name: 1}}, ""),
        (prompts({"prompt": "a", "params": {name: None}}), "/prompts/0"),
    ):
        error = refusal(document)

        assert (error.pointer, error.code) == (f"{place}/params/{name}", "reserved_param")


def test_a_refusal_never_quotes_what_was_sent() -> None:
    secret = "my-secret"
    for document in (
        prompts({"prompt": "a", "model": secret}),
        prompts({"messages": [{"role": secret, "content": "a"}]}),
        prompts({"prompt": "a", "params": {"temperature": secret}}),
        prompts({"prompt": [secret]}),
        prompts({"prompt": "a", "custom_id": secret}, {"prompt": "a", "custom_id": secret}),
    ):
        assert secret not in str(refusal(document))


NAMES = st.sampled_from(
    [
        "prompts",
        "prompt",
        "messages",
        "role",
        "content",
        "system",
        "model",
        "params",
        "custom_id",
        "temperature",
        "stop",
    ]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True)
@given(st.fixed_dictionaries({"prompts": st.lists(ANY_JSON, max_size=4) | ANY_JSON}) | ANY_JSON)
def test_any_json_is_either_a_call_or_a_caller_error(document: object) -> None:
    try:
        call = parse_call(document, LIMITS)
    except CallerError:
        return
    assert 1 <= len(call.prompts) <= LIMITS.most_prompts
    assert all(prompt.model in LIMITS.models and messages_of(prompt) for prompt in call.prompts)
