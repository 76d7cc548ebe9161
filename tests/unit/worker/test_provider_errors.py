"""Which errors wait, which try again and which give up."""

from datetime import UTC, datetime

import pytest

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.task import FailureCode
from common.worker.provider_errors import MAX_RETRY_AFTER, classify, classify_in_stream, codes_of, retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "codes", "kind", "code"),
    [
        (400, (), ModelRefused, FailureCode.BAD_REQUEST),
        (400, ("invalid_request_error",), ModelRefused, FailureCode.BAD_REQUEST),
        (400, ("context_length_exceeded", "invalid_request_error"), ModelRefused, FailureCode.CONTEXT_LENGTH_EXCEEDED),
        (400, ("content_policy_violation",), ModelRefused, FailureCode.CONTENT_POLICY),
        (400, ("content_filter",), ModelRefused, FailureCode.CONTENT_POLICY),
        (401, ("invalid_api_key",), ModelRefused, FailureCode.UNAUTHORIZED),
        (402, (), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (403, (), ModelRefused, FailureCode.FORBIDDEN),
        (404, ("model_not_found",), ModelRefused, FailureCode.MODEL_NOT_FOUND),
        (405, (), ModelRefused, FailureCode.BAD_REQUEST),
        (408, (), ModelFailed, FailureCode.SERVER_ERROR),
        (409, (), ModelFailed, FailureCode.SERVER_ERROR),
        (413, (), ModelRefused, FailureCode.REQUEST_TOO_LARGE),
        (422, (), ModelRefused, FailureCode.BAD_REQUEST),
        (429, (), ModelBusy, FailureCode.RATE_LIMITED),
        (429, ("rate_limit_exceeded", "requests"), ModelBusy, FailureCode.RATE_LIMITED),
        (429, ("insufficient_quota",), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (429, ("credit_balance_exhausted",), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (429, ("organization_spend_limit_exceeded",), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (429, ("project_spend_limit_exceeded",), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (429, ("organization_usage_limit_exceeded",), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (500, (), ModelFailed, FailureCode.SERVER_ERROR),
        (502, (), ModelFailed, FailureCode.SERVER_ERROR),
        (503, ("overloaded_error",), ModelFailed, FailureCode.SERVER_ERROR),
        (504, (), ModelFailed, FailureCode.SERVER_ERROR),
        (529, (), ModelFailed, FailureCode.SERVER_ERROR),
        (304, (), ModelFailed, FailureCode.SERVER_ERROR),
        *((status, (), ModelRefused, FailureCode.REDIRECTED) for status in (300, 301, 302, 303, 307, 308)),
    ],
)
def test_an_error_answer_is_judged_by_status_and_code(
    status: int, codes: tuple[str, ...], kind: type[ModelError], code: FailureCode
) -> None:
    verdict = classify(status, {}, codes, NOW)

    assert (type(verdict), verdict.code) == (kind, code)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"message": "oops"}, ModelFailed, FailureCode.SERVER_ERROR),
        ({"type": "server_error", "code": None}, ModelFailed, FailureCode.SERVER_ERROR),
        ({"code": "rate_limit_exceeded"}, ModelBusy, FailureCode.RATE_LIMITED),
        ({"code": 429}, ModelBusy, FailureCode.RATE_LIMITED),
        ({"code": 502, "message": "bad gateway"}, ModelFailed, FailureCode.SERVER_ERROR),
        ({"type": "invalid_request_error"}, ModelRefused, FailureCode.BAD_REQUEST),
        (
            {"type": "invalid_request_error", "code": "context_length_exceeded"},
            ModelRefused,
            FailureCode.CONTEXT_LENGTH_EXCEEDED,
        ),
        ({"type": "insufficient_quota"}, ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        ("just a text", ModelFailed, FailureCode.SERVER_ERROR),
        ({"code": 7}, ModelFailed, FailureCode.SERVER_ERROR),
        ({"code": "4" * 5000}, ModelFailed, FailureCode.SERVER_ERROR),
    ],
)
def test_an_error_inside_a_stream_is_judged_by_its_code(
    error: object, kind: type[ModelError], code: FailureCode
) -> None:
    verdict = classify_in_stream(error, begun=False)

    assert (type(verdict), verdict.code) == (kind, code)


def test_a_rate_limit_in_an_answer_that_has_begun_is_not_refunded() -> None:
    verdict = classify_in_stream({"code": "rate_limit_exceeded"}, begun=True)

    assert (type(verdict), verdict.code) == (ModelFailed, FailureCode.RATE_LIMITED)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, None),
        ({"retry-after": "Sat, 99 Nov 2026"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, MAX_RETRY_AFTER),
        ({"retry-after": "86400"}, MAX_RETRY_AFTER),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_wait_is_kept_wherever_waiting_helps(status: int) -> None:
    assert classify(status, {"retry-after": "4"}, (), NOW).retry_after == 4


def test_a_wait_until_a_date_is_counted_from_now() -> None:
    assert classify(429, {"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, (), NOW).retry_after == 30


def test_only_texts_and_numbers_count_as_codes() -> None:
    assert codes_of({"code": ["x"], "type": "server_error", "message": "rate_limit_exceeded"}) == ("server_error",)
    assert codes_of(None) == ()
