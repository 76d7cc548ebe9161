"""Errors name their parameter as OpenAI's do, and say whether a repeat helps."""

import json

import pytest

from common.api.http import Problem
from common.domain.errors import QueueUnavailable, StoreUnavailable
from common.submission.admission import BudgetExhausted, QueueFull, QueueShareFull
from common.submission.model import IdempotencyKeyInUse, IdempotencyKeyReused
from functions.openai.errors import TooManyHeldCalls, error_response, param_of


@pytest.mark.parametrize(
    ("pointer", "param"),
    [
        ("", None),
        ("/model", "model"),
        ("/messages/0/content", "messages[0].content"),
        ("/tools/12/function/name", "tools[12].function.name"),
        ("/metadata/a~1b~0c", "metadata.a/b~c"),
        ("/0", "0"),
        ("/logit_bias/01", "logit_bias.01"),
    ],
)
def test_a_pointer_is_shown_as_a_parameter(pointer: str, param: str | None) -> None:
    assert param_of(pointer) == param


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (409, "invalid_request_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
    ],
)
def test_the_type_follows_from_the_status(status: int, kind: str) -> None:
    response = error_response(Problem(status, "code", "detail"), "id")

    assert json.loads(response.body or "")["error"] == {
        "message": "detail",
        "type": kind,
        "param": None,
        "code": "code",
    }
    assert response.headers["x-request-id"] == "id"


@pytest.mark.parametrize(
    "code", [*(error.code for error in (BudgetExhausted, QueueFull, IdempotencyKeyReused)), "attempts_exhausted"]
)
def test_a_repeat_that_cannot_help_is_not_made(code: str) -> None:
    assert error_response(Problem(429, code, "detail"), "id").headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "code",
    [
        *(error.code for error in (QueueShareFull, TooManyHeldCalls, IdempotencyKeyInUse)),
        *(error.code for error in (StoreUnavailable, QueueUnavailable)),
        "internal_error",
    ],
)
def test_a_repeat_that_may_help_is_left_to_the_sdk(code: str) -> None:
    assert "x-should-retry" not in error_response(Problem(503, code, "detail"), "id").headers


def test_a_delay_is_told_in_both_units() -> None:
    headers = error_response(Problem(429, "code", "detail", retry_after=3), "id").headers

    assert (headers["Retry-After"], headers["retry-after-ms"]) == ("3", "3000")
