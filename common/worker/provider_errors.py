"""Judge a provider's error: wait, try again, or give up. By status and error code, never by the error's text.

status                          code                                           error
any                             context_length_exceeded, content_filter, …     ModelRefused, its own code
any                             insufficient_quota and its kin; 402            ModelRefused(quota_exhausted)
300 to 303, 307, 308                                                           ModelRefused(redirected)
429                                                                            ModelBusy(rate_limited)
408, 409, 5xx, anything odd                                                    ModelFailed(server_error)
400, 401, 403, 404, 413, 422, other 4xx                                        ModelRefused
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.task import FailureCode, ProviderError

MAX_RETRY_AFTER: Final = 3600.0
"""Seconds that we wait at a provider's word, at most: a task has six hours by default."""

_FINAL_CODES: Final[Mapping[str, FailureCode]] = {
    "context_length_exceeded": FailureCode.CONTEXT_LENGTH_EXCEEDED,
    "content_policy_violation": FailureCode.CONTENT_POLICY,
    "content_filter": FailureCode.CONTENT_POLICY,
    "image_content_policy_violation": FailureCode.CONTENT_POLICY,
    # The 429s that no wait cures: https://platform.openai.com/docs/guides/error-codes
    "insufficient_quota": FailureCode.QUOTA_EXHAUSTED,
    "credit_balance_exhausted": FailureCode.QUOTA_EXHAUSTED,
    "organization_spend_limit_exceeded": FailureCode.QUOTA_EXHAUSTED,
    "project_spend_limit_exceeded": FailureCode.QUOTA_EXHAUSTED,
    "organization_usage_limit_exceeded": FailureCode.QUOTA_EXHAUSTED,
}

_FINAL_STATUSES: Final[Mapping[int, FailureCode]] = {
    HTTPStatus.BAD_REQUEST: FailureCode.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED: FailureCode.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED: FailureCode.QUOTA_EXHAUSTED,
    HTTPStatus.FORBIDDEN: FailureCode.FORBIDDEN,
    HTTPStatus.NOT_FOUND: FailureCode.MODEL_NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: FailureCode.REQUEST_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: FailureCode.BAD_REQUEST,
}

_REDIRECTS: Final = frozenset(
    {
        HTTPStatus.MULTIPLE_CHOICES,
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
"""Statuses that point elsewhere. To go there would hand the prompt and the key to a host that no operator chose.

All are for good, also those that HTTP calls temporary: behind them is a base URL that needs another scheme, a slash
less or a login, and no further attempt changes it.
"""

_STATUS_OF_STREAM_CODE: Final[Mapping[str, int]] = {
    # An error inside a stream has no status of its own; these codes and types stand for one.
    "rate_limit_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "rate_limit_error": HTTPStatus.TOO_MANY_REQUESTS,
    "invalid_request_error": HTTPStatus.BAD_REQUEST,
    "authentication_error": HTTPStatus.UNAUTHORIZED,
    "invalid_api_key": HTTPStatus.UNAUTHORIZED,
    "billing_error": HTTPStatus.PAYMENT_REQUIRED,
    "permission_error": HTTPStatus.FORBIDDEN,
    "model_not_found": HTTPStatus.NOT_FOUND,
    "not_found_error": HTTPStatus.NOT_FOUND,
    "request_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    # The codes of a response that has failed: the provider could not use what the caller sent.
    **dict.fromkeys(
        (
            *("invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
            *("invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error", "image_file_too_large"),
            *("unsupported_image_media_type", "empty_image_file", "image_file_not_found"),
        ),
        HTTPStatus.BAD_REQUEST,
    ),
}


_STATUS: Final = re.compile(r"[45][0-9]{2}")

_REQUEST_IDS: Final = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")
"""The headers of OpenAI and most others, Anthropic, AWS and Azure."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]+")

MOST_CODE: Final = 64
"""Characters of a provider's error code."""

MOST_NAME: Final = 128
"""Characters of a parameter's path, as `messages[0].content[1].image_url`, and of a request ID."""


def classify(status: int, headers: Mapping[str, str], codes: tuple[str, ...], now: datetime) -> ModelError:
    """Classify an error answer.

    Args:
        status: the HTTP status.
        headers: the answer's headers, looked up in lower case.
        codes: `code` and `type` of the body's error object, as far as there are any.
        now: with its time zone, for a Retry-After that is a date.

    """
    for code in codes:
        if code in _FINAL_CODES:
            return ModelRefused(_FINAL_CODES[code])
    if status in _REDIRECTS:
        return ModelRefused(FailureCode.REDIRECTED)
    wait = retry_after(headers, now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ModelBusy(FailureCode.RATE_LIMITED, retry_after=wait)
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}:
        return ModelFailed(FailureCode.SERVER_ERROR, retry_after=wait)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ModelRefused(_FINAL_STATUSES.get(status, FailureCode.BAD_REQUEST))
    return ModelFailed(FailureCode.SERVER_ERROR, retry_after=wait)


def classify_in_stream(error: object, *, begun: bool) -> ModelError:
    """Classify an error that came with status 200; `begun` says that a part of the answer came before it.

    What has begun is billed, so it never counts as merely busy: that would refund the attempt without end.
    """
    failure = _judge_in_stream(codes_of(error), begun=begun)
    failure.provider_error = provider_error_of(error)
    return failure


def _judge_in_stream(codes: tuple[str, ...], *, begun: bool) -> ModelError:
    status = next((_STATUS_OF_STREAM_CODE[code] for code in codes if code in _STATUS_OF_STREAM_CODE), None)
    if status is None:  # some gateways put the status they got where the code belongs
        status = next((int(code) for code in codes if _STATUS.fullmatch(code)), None)
    failure = classify(status or HTTPStatus.INTERNAL_SERVER_ERROR, {}, codes, datetime.now(UTC))
    if begun and isinstance(failure, ModelBusy):
        return ModelFailed(failure.code)
    return failure


def codes_of(error: object) -> tuple[str, ...]:
    """Read `code` and `type` of an error object, as texts; nothing else of it."""
    if not isinstance(error, Mapping):
        return ()
    values: tuple[Any, ...] = (error.get("code"), error.get("type"))
    return tuple(str(value) for value in values if isinstance(value, str | int))


def provider_error_of(error: object) -> ProviderError | None:
    """Read `code` and `param` of an error object, which identify the error.

    Each is kept only where it is short and of the characters that codes, paths and IDs are made of: anything else may
    be text, and text may quote the prompt.
    """
    if not isinstance(error, Mapping):
        return None
    reported = ProviderError(_name(error.get("code"), most=MOST_CODE), _name(error.get("param")))
    return None if reported == ProviderError() else reported


def add_request_id(error: ModelError, headers: Mapping[str, str]) -> None:
    """Add to an error the ID under which the provider has the request, from the headers of its answer."""
    found = (_name(headers.get(name)) for name in _REQUEST_IDS)
    if request_id := next(filter(None, found), None):
        error.provider_error = replace(error.provider_error or ProviderError(), request_id=request_id)


def _name(value: object, *, most: int = MOST_NAME) -> str | None:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    text = str(value)
    return text if len(text) <= most and _NAME.fullmatch(text) else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read the wait in seconds that the provider asks for, capped; None where it says nothing sensible.

    `retry-after-ms` is OpenAI's own and the finer of the two; `retry-after` is seconds or a date (RFC 9110, 10.2.3).
    """
    seconds = _number(headers.get("retry-after-ms"), scale=0.001)
    if seconds is None:
        seconds = _number(headers.get("retry-after"), scale=1.0)
    if seconds is None:
        seconds = _seconds_until(headers.get("retry-after"), now)
    return None if seconds is None or seconds < 0 else min(seconds, MAX_RETRY_AFTER)


def _number(text: str | None, *, scale: float) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number * scale


def _seconds_until(text: str | None, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC of unknown place
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
