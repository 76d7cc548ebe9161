"""The rules of a call: each breach is a 4xx that names the item."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import CallerError, InvalidItems, RequestTooLarge
from functions.submit.body import MAX_ERRORS
from functions.submit.schema import RESERVED_PARAMS
from functions.submit.service import Call, Prompt
from functions.submit.validation import MOST_CALL_BYTES, Limits, read_call, read_repeatable

LIMITS = Limits(
    models=("small", "large"),
    most_prompts=5,
    most_prompt_bytes=300,
    deadline_seconds=60,
    retention_seconds=100,
)


def refusal(document: object) -> CallerError:
    with pytest.raises(CallerError) as caught:
        read_call(document, LIMITS)
    return caught.value


def only(document: dict[str, Any]) -> Prompt:
    [prompt] = read_call(document, LIMITS).prompts
    return prompt


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


# ─── What is taken ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plain_string_is_a_prompt_for_the_default_model() -> None:
    assert read_call({"prompts": ["Tell me"]}, LIMITS) == Call((Prompt("small", [user("Tell me")]),), 60, 100)


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
        "large", [system("Be brief"), user("Tell me")], {"temperature": 0, "new_param": [1]}, "mine", 50
    )


def test_what_a_prompt_says_wins_over_what_the_call_says() -> None:
    call = {
        "prompts": [{"prompt": "a", "model": "small", "system": "Mine", "params": {"top_p": 0.5}}, "b"],
        "model": "large",
        "system": "Yours",
        "params": {"top_p": 1, "seed": 7},
    }

    first, second = read_call(call, LIMITS).prompts

    assert first == Prompt("small", [system("Mine"), user("a")], {"top_p": 0.5, "seed": 7})
    assert second == Prompt("large", [system("Yours"), user("b")], {"top_p": 1, "seed": 7})


def test_messages_are_taken_as_they_are_behind_the_system_prompt() -> None:
    conversation = [user("a"), {"role": "assistant", "content": "b", "name": "x"}, user("c")]

    assert only({"prompts": [{"messages": conversation}], "system": "S"}).messages == [system("S"), *conversation]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_messages_with_instructions_of_their_own_keep_those(role: str) -> None:
    conversation = [{"role": role, "content": "mine"}, user("a")]

    assert only({"prompts": [{"messages": conversation}], "system": "yours"}).messages == conversation


def test_a_message_may_be_made_of_parts() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]

    assert only({"prompts": [{"messages": parts}]}).messages == parts


def test_a_conversation_may_call_tools_and_answer_them_and_its_answer_may_call_more() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    conversation = [
        user("Rain?"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "no"}]},
    ]
    params = {
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    asked = {"prompts": [{"messages": conversation, "params": {"tool_choice": "required"}}], "params": params}

    [prompt] = read_call(asked, replace(LIMITS, most_prompt_bytes=1_000)).prompts

    assert (prompt.messages, prompt.params) == (conversation, params)


def test_a_template_makes_a_prompt_of_each_input() -> None:
    call = read_call(
        {
            "template": "Write about {topic}.",
            "inputs": [{"topic": "a forest", "custom_id": "first"}, {"topic": 7}],
            "system": "Be brief",
            "model": "large",
        },
        LIMITS,
    )

    assert call.prompts == (
        Prompt("large", [system("Be brief"), user("Write about a forest.")], custom_id="first"),
        Prompt("large", [system("Be brief"), user("Write about 7.")]),
    )


def test_each_bad_input_is_named() -> None:
    error = refusal({"template": "{a}", "inputs": [{}, {"a": "x"}, {"a": "x", "b": "y"}]})

    assert isinstance(error, InvalidItems)
    assert [fault.pointer for fault in error.errors] == ["/inputs/0/a", "/inputs/2/b"]


@pytest.mark.parametrize(
    "document",
    [
        {"template": "x" * 200_000 + "{a}", "inputs": [{"a": "y"}] * 1_000},
        {"prompts": ["y"] * 1_000, "system": "x" * 200_000},
    ],
)
def test_a_small_request_cannot_become_a_huge_call(document: dict[str, Any]) -> None:
    with pytest.raises(RequestTooLarge) as caught:
        read_call(document, Limits(("m",), 1_000, 262_144, 60, 100))

    assert caught.value.code == "request_too_large"
    assert caught.value.detail == (
        "is too much: the prompts before it take up the 20000000 bytes that a call has in the queue"
    )
    assert str(caught.value.pointer).endswith("/99")


def test_a_call_may_take_up_all_its_bytes() -> None:
    each = 250_000
    text = "x" * (each - len(json.dumps([[user("")], {}], separators=(",", ":"))))
    count = MOST_CALL_BYTES // each

    call = read_call({"prompts": [text] * count}, Limits(("m",), 1_000, each, 60, 100))

    assert (len(call.prompts), count * each) == (count, MOST_CALL_BYTES)


def test_the_metadata_of_a_call_is_kept() -> None:
    assert read_call({"prompts": ["a"], "metadata": {"run": "7"}}, LIMITS).metadata == {"run": "7"}


def test_null_is_the_same_as_nothing() -> None:
    names = ("messages", "custom_id", "model", "system", "params", "expected_tokens")
    call = {"prompts": [{"prompt": "a", **dict.fromkeys(names)}], "model": None, "deadline_seconds": None}

    assert read_call(call, LIMITS) == read_call({"prompts": ["a"]}, LIMITS)


@pytest.mark.parametrize("seconds", [1, 100])
def test_the_deadline_may_be_set_within_its_limits(seconds: int) -> None:
    assert read_call({"prompts": ["a"], "deadline_seconds": seconds}, LIMITS).deadline_seconds == seconds


def test_an_ended_task_is_kept_for_as_long_as_the_call_says() -> None:
    for seconds in (3_600, 2_592_000):
        assert read_call({"prompts": ["a"], "retention_seconds": seconds}, LIMITS).retention_seconds == seconds


def test_a_retention_allows_for_a_later_deadline_and_cuts_the_one_that_nobody_set() -> None:
    limits = Limits(("m",), 5, 300, deadline_seconds=21_600, retention_seconds=86_400)

    for said, deadline in (
        ({"retention_seconds": 864_000, "deadline_seconds": 777_600}, 777_600),
        ({"retention_seconds": 864_000}, 21_600),
        ({"retention_seconds": 3_600}, 3_600),
    ):
        assert read_call({"prompts": ["a"], **said}, limits).deadline_seconds == deadline


# ─── What is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def prompts(*items: object) -> dict[str, Any]:
    return {"prompts": list(items)}


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
        ({"template": "{a}", "inputs": []}, "/inputs", "no_prompts"),
        ({"template": "{a}", "inputs": [{"a": "x"}] * 6}, "/inputs", "too_many_prompts"),
        ({"template": "{a}", "inputs": ["x"]}, "/inputs/0", "invalid_value"),
        ({"template": 1, "inputs": [{"a": "x"}]}, "/template", "invalid_value"),
        ({"template": "{a.b}", "inputs": [{"a": "x"}]}, "/template", "invalid_template"),
        ({"template": "{a}", "inputs": [{"a": "x"}, {"b": "x"}]}, "/inputs/1/a", "missing_variable"),
        ({"template": "{a}", "inputs": [{"a": " "}]}, "/inputs/0", "blank_text"),
        ({"template": "{a}", "inputs": [{"a": "x" * 300}]}, "/inputs/0", "prompt_too_large"),
        ({"template": "{a}", "inputs": [{"a": "x", "custom_id": 1}]}, "/inputs/0/custom_id", "invalid_value"),
        (
            {"template": "{a}", "inputs": [{"a": "x", "custom_id": "i"}, {"a": "y", "custom_id": "i"}]},
            "/inputs/1/custom_id",
            "duplicate_custom_id",
        ),
        ({"prompts": "text"}, "/prompts", "invalid_value"),
        (prompts(), "/prompts", "no_prompts"),
        (prompts(*"abcdef"), "/prompts", "too_many_prompts"),
        ({"prompts": ["a"], "metadata": {"a": 1}}, "/metadata", "invalid_value"),
        ({"prompts": ["a"], "metadata": {str(n): "" for n in range(17)}}, "/metadata", "invalid_value"),
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
        (prompts(""), "/prompts/0/prompt", "blank_text"),
        (prompts(" \n\t"), "/prompts/0/prompt", "blank_text"),
        (prompts({}), "/prompts/0", "invalid_value"),
        (prompts({"prompt": "a", "messages": [user("b")]}), "/prompts/0", "invalid_value"),
        (prompts({"prompt": "a", "tone": "x"}), "/prompts/0/tone", "unknown_field"),
        (prompts({"prompt": "a", "custom_id": ""}), "/prompts/0/custom_id", "invalid_value"),
        (prompts({"prompt": "a", "custom_id": "x" * 257}), "/prompts/0/custom_id", "invalid_value"),
        (prompts({"prompt": "a", "model": "huge"}), "/prompts/0/model", "model_not_allowed"),
        (prompts({"prompt": "a", "expected_tokens": 0}), "/prompts/0/expected_tokens", "invalid_value"),
        (prompts({"messages": []}), "/prompts/0/messages", "invalid_value"),
        (
            prompts({"messages": [{"role": "tool", "content": "no"}]}),
            "/prompts/0/messages/0/tool_call_id",
            "invalid_value",
        ),
        (
            prompts({"messages": [{"role": "tool", "content": "no", "tool_call_id": ""}]}),
            "/prompts/0/messages/0/tool_call_id",
            "invalid_value",
        ),
        (
            prompts({"messages": [{"role": "tool", "content": "no", "tool_call_id": 1}]}),
            "/prompts/0/messages/0/tool_call_id",
            "invalid_value",
        ),
        (prompts({"messages": [{"role": "assistant", "content": ""}]}), "/prompts/0/messages/0/content", "blank_text"),
        (prompts({"prompt": "a", "params": {"tools": []}}), "/prompts/0/params/tools", "invalid_value"),
        (prompts({"prompt": "a", "params": {"tools": ["a"]}}), "/prompts/0/params/tools/0", "invalid_value"),
        (prompts({"prompt": "a", "params": {"tool_choice": 1}}), "/prompts/0/params/tool_choice", "invalid_value"),
        (prompts({"messages": ["a"]}), "/prompts/0/messages/0", "invalid_value"),
        (prompts({"messages": [{"content": "a"}]}), "/prompts/0/messages/0/role", "invalid_value"),
        (prompts({"messages": [{"role": "boss", "content": "a"}]}), "/prompts/0/messages/0/role", "invalid_value"),
        (prompts({"messages": [{"role": ["user"], "content": "a"}]}), "/prompts/0/messages/0/role", "invalid_value"),
        (prompts({"messages": [user("a"), user("")]}), "/prompts/0/messages/1/content", "blank_text"),
        (prompts({"messages": [{"role": "user"}]}), "/prompts/0/messages/0/content", "invalid_value"),
        (prompts({"messages": [{"role": "user", "content": ["a"]}]}), "/prompts/0/messages/0/content", "invalid_value"),
        (prompts({"messages": [system("a")], "system": "b"}), "/prompts/0/system", "invalid_value"),
        (prompts({"prompt": "a", "params": []}), "/prompts/0/params", "invalid_value"),
        (prompts({"prompt": "a", "params": {"max_tokens": 0}}), "/prompts/0/params/max_tokens", "invalid_value"),
        (prompts({"prompt": "a", "params": {"max_tokens": "9"}}), "/prompts/0/params/max_tokens", "invalid_value"),
        (prompts({"prompt": "a", "params": {"top_p": True}}), "/prompts/0/params/top_p", "invalid_value"),
        (prompts({"prompt": "a", "params": {"stop": [1]}}), "/prompts/0/params/stop/0", "invalid_value"),
        (prompts({"prompt": "a", "params": {"stop": ["a"] * 5}}), "/prompts/0/params/stop", "invalid_value"),
        (prompts("x" * 300), "/prompts/0", "prompt_too_large"),
    ],
)
def test_a_breach_is_refused_by_its_place(document: object, pointer: str | None, code: str) -> None:
    error = refusal(document)

    assert (error.pointer, error.code) == (pointer, code)
    assert error.status == (413 if code in {"too_many_prompts", "prompt_too_large"} else 400)


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ([], "the body must be a JSON object with `prompts`"),
        ({}, "must have either `prompts`, or `template` with `inputs`"),
        (prompts(), "must not be empty"),
        (prompts(*"abcdef"), "has 6 items; a call takes at most 5"),
        ({"prompts": ["a"], "deadline_seconds": 101}, "must be at most the retention, which is 100"),
        ({"prompts": ["a"], "model": "huge"}, "must be one of small, large"),
        ({"prompts": ["a"], "system": " "}, "must not be blank"),
        ({"prompts": ["a"], "params": {"stream": True}}, RESERVED_PARAMS["stream"]),
        ({"prompts": ["a"], "params": {"seed": "x"}}, "Expected `int | null`, got `str`"),
        (prompts(1), "must be a string or an object"),
        (prompts(""), "must not be blank"),
        (prompts({}), "must have either `prompt` or `messages`"),
        (
            prompts({"prompt": "a", "tone": "x"}),
            "is not a field here; there are prompt, messages, custom_id, model, system, params, expected_tokens",
        ),
        (
            prompts({"messages": [system("a")], "system": "b"}),
            "must not stand beside `messages` that have a system or developer message",
        ),
        (
            prompts({"messages": [{"role": "boss", "content": "a"}]}),
            "must be one of system, developer, user, assistant, tool",
        ),
        (
            prompts({"messages": [{"role": "tool", "content": "no"}]}),
            "must say which of the assistant's tool_calls it answers",
        ),
        (prompts({"messages": [user("")]}), "must be text that is not blank, or a list of content parts"),
        (prompts("x" * 300), "takes 335 bytes in the queue, with its params; a prompt may take 300"),
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


def test_a_repeated_custom_id_is_refused_at_its_second_place() -> None:
    error = refusal(prompts({"prompt": "a", "custom_id": "x"}, "b", {"prompt": "c", "custom_id": "x"}))

    assert (error.pointer, error.code) == ("/prompts/2/custom_id", "duplicate_custom_id")
    assert "/prompts/0" in error.detail


@pytest.mark.parametrize(("letter", "bytes_each"), [("a", 1), ('"', 2), ("é", 6), ("😀", 12), ("\0", 6)])
def test_a_prompt_is_measured_as_it_is_queued(letter: str, bytes_each: int) -> None:
    frame = len(json.dumps([[user("")], {}], separators=(",", ":")))
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
        read_call(prompts(*[""] * 1_000), limits)

    assert len(caught.value.errors) == MAX_ERRORS


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


# ─── Idempotency ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_key_a_request_is_not_repeatable() -> None:
    assert read_repeatable(None, {}) is None


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é", "a\n"])
def test_a_key_is_printable_ascii_of_a_sane_length(key: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_repeatable(key, {})

    assert caught.value.code == "invalid_idempotency_key"
    assert caught.value.detail == "Idempotency-Key must be 1 to 255 printable ASCII characters"


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b~!"])
def test_the_digest_tells_requests_apart_but_not_their_spelling(key: str) -> None:
    one, same, other = (
        read_repeatable(key, document)
        for document in ({"prompts": ["a"], "model": "m"}, {"model": "m", "prompts": ["a"]}, {"prompts": ["b"]})
    )

    assert one is not None
    assert other is not None
    assert one == same
    assert one.key == key
    assert one.digest != other.digest


# ─── Anything at all ──────────────────────────────────────────────────────────────────────────────────────────────────

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
        call = read_call(document, LIMITS)
    except CallerError:
        return
    assert 1 <= len(call.prompts) <= LIMITS.most_prompts
    assert all(prompt.model in LIMITS.models and prompt.messages for prompt in call.prompts)
