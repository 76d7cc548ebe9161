"""Why an answer ended, in the words of the large providers."""

import pytest

from common.domain.errors import ModelError, ModelFailed, ModelRefused
from common.domain.task import Answer, FailureCode, Usage
from tests.unit.worker.completions import COUNTS, DONE, HELLO, ROLE, Send, answer_in, both_ways, error_in, event


@both_ways
@pytest.mark.parametrize(
    "reason",
    [
        *("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "TOKEN_LIMIT"),
        *("model_context_window_exceeded", "FINISH_REASON_MAX_TOKENS", "FinishReason.MAX_TOKENS"),
    ],
)
def test_an_answer_cut_at_its_token_limit_is_an_answer_and_says_so(send: Send, reason: str) -> None:
    assert answer_in(send({"content": "Half a"}, reason)) == Answer("Half a", "length")


@both_ways
@pytest.mark.parametrize(
    "reason",
    [
        *("content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "refusal", "sensitive"),
        *("guardrail_intervened", "content_filtered", "ERROR_TOXIC", "content_filter: SAFETY"),
    ],
)
@pytest.mark.parametrize("text", ["", "Half an"])
def test_an_answer_that_was_filtered_is_refused_and_its_tokens_are_known(send: Send, reason: str, text: str) -> None:
    caught = error_in(send({"content": text}, reason, COUNTS))

    assert (type(caught), caught.code, caught.usage) == (ModelRefused, FailureCode.CONTENT_POLICY, Usage(3, 2, 5))


@both_ways
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("error", FailureCode.SERVER_ERROR),
        ("ERROR", FailureCode.SERVER_ERROR),
        ("insufficient_system_resource", FailureCode.SERVER_ERROR),
        ("network_error", FailureCode.SERVER_ERROR),
        ("TIMEOUT", FailureCode.SERVER_ERROR),
        ("abort", FailureCode.STREAM_CUT),
        ("cancelled", FailureCode.STREAM_CUT),
        ("MALFORMED_FUNCTION_CALL", FailureCode.UNREADABLE_ANSWER),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", FailureCode.UNREADABLE_ANSWER),
        ("malformed_model_output", FailureCode.UNREADABLE_ANSWER),
    ],
)
def test_an_answer_that_the_provider_broke_off_is_tried_again(send: Send, reason: str, code: FailureCode) -> None:
    caught = error_in(send({"content": "Half an"}, reason, COUNTS))

    assert (type(caught), caught.code, caught.usage) == (ModelFailed, code, Usage(3, 2, 5))


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"code": 502}, ModelFailed, FailureCode.SERVER_ERROR),
        ({"code": 429}, ModelFailed, FailureCode.RATE_LIMITED),
        ({"code": "content_policy_violation"}, ModelRefused, FailureCode.CONTENT_POLICY),
    ],
)
def test_the_error_of_a_choice_says_why_it_was_broken_off(
    error: dict[str, object], kind: type[ModelError], code: FailureCode
) -> None:
    broken = event(choices=[{"index": 0, "delta": {}, "finish_reason": "error", "error": error}])

    caught = error_in(ROLE, HELLO, broken, DONE)

    assert (type(caught), caught.code) == (kind, code)


@both_ways
@pytest.mark.parametrize(
    "reason", ["stop", "STOP", "end_turn", "eos", "stop_sequence", "COMPLETE", "pause_turn", "OTHER"]
)
def test_any_other_reason_is_shown_as_it_is(send: Send, reason: str) -> None:
    assert answer_in(send({"content": "Hello"}, reason)) == Answer("Hello", reason)
