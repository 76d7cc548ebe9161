"""What `params` may name: nothing that Sluice sets itself, in no spelling, and nothing that has no price."""

import pytest

from common.kinds.chat.validation import RESERVED_PARAMS, KnownParams
from tests.requests import params_of
from tests.unit.submit.calls import only, prompts, refusal

WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
"""From ASCII to its fullwidth forms."""


def spellings(name: str) -> list[str]:
    """List names that a provider may take for this one."""
    head, *tail = name.split("_")
    camel = head + "".join(part.title() for part in tail)
    return [
        *(name.upper(), name.title(), name.replace("_", "-").upper(), f"{camel}_"),
        *(f" {name}", f"{name} ", f"{name}\t", f"{name}\u200b", f"{name}\0"),
        name.translate(WIDE),
    ]


@pytest.mark.parametrize("name", sorted(RESERVED_PARAMS))
def test_a_reserved_param_is_refused_in_every_spelling(name: str) -> None:
    for spelling in spellings(name):
        for document, place in (
            ({"prompts": ["a"], "params": {spelling: 1}}, ""),
            (prompts({"prompt": "a", "params": {"seed": 1, spelling: None}}), "/prompts/0"),
        ):
            error = refusal(document)

            assert (error.status, error.code) == (400, "reserved_param")
            assert error.pointer == f"{place}/params/{spelling}"
            assert error.detail == RESERVED_PARAMS[name]


@pytest.mark.parametrize("name", sorted({*KnownParams.__struct_fields__} - RESERVED_PARAMS.keys()))
def test_a_checked_param_passes_its_check_in_no_other_spelling(name: str) -> None:
    for spelling in spellings(name):
        error = refusal({"prompts": ["a"], "params": {spelling: -99}})

        assert (error.pointer, error.code) == (f"/params/{spelling}", "invalid_value")
        assert error.detail == f"is {name} in another spelling; write {name}"


def test_look_alikes_that_json_parsers_fold_are_refused() -> None:
    # The long s and the Kelvin sign, which Go's encoding/json takes for s and k
    for name in ("me\u017f\u017fages", "\u017ftream", "web_\u017fearch_options", "fallbac\u212as"):
        assert refusal({"prompts": ["a"], "params": {name: 1}}).code == "reserved_param"


def test_a_param_of_the_providers_own_is_handed_on_as_it_is_written() -> None:
    params = {"top_k": 5, "chat_template_kwargs": {"N": 1, "stream": True}, "safePrompt": True, "größe": 1, "_": 2}

    assert params_of(only({"prompts": ["a"], "params": params})) == params


@pytest.mark.parametrize("tier", ["flex", "priority", "scale", "batch", "", "Default"])
def test_a_service_tier_without_a_price_is_refused(tier: str) -> None:
    error = refusal(prompts("a", {"prompt": "a", "params": {"service_tier": tier}}))

    assert (error.status, error.pointer) == (400, "/prompts/1/params/service_tier")
    assert error.code == "unpriced_param"
    assert error.detail == "must be auto or default: this service has no prices of other tiers"


@pytest.mark.parametrize("tier", ["auto", "default", None])
def test_a_service_tier_at_the_models_price_is_handed_on(tier: str | None) -> None:
    assert params_of(only({"prompts": ["a"], "params": {"service_tier": tier}})) == {"service_tier": tier}


@pytest.mark.parametrize("tier", [1, True, ["flex"], {"tier": "flex"}])
def test_a_service_tier_that_is_no_text_is_refused(tier: object) -> None:
    error = refusal({"prompts": ["a"], "params": {"service_tier": tier}})

    assert (error.pointer, error.code) == ("/params/service_tier", "invalid_value")


@pytest.mark.parametrize("name", ["type", "Type", "TYPE"])
@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "code_interpreter", "Function", "", None, ["x"]])
def test_a_tool_that_the_provider_runs_at_a_fee_is_refused(name: str, kind: object) -> None:
    tools = [{"type": "function", "function": {"name": "rain"}}, {name: kind}]

    error = refusal({"prompts": ["a"], "params": {"tools": tools}})

    assert (error.status, error.pointer, error.code) == (400, f"/params/tools/1/{name}", "unpriced_param")


def test_tools_of_the_callers_own_are_handed_on() -> None:
    tools = [
        {"type": "function", "function": {"name": "rain", "parameters": {"type": "object"}}},
        {"type": "custom", "custom": {"name": "sql"}},
        {"function": {"name": "untyped"}},
    ]

    assert params_of(only({"prompts": ["a"], "params": {"tools": tools}})) == {"tools": tools}
