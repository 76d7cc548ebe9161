"""Build OpenAI error responses: a problem (RFC 9457) with the member `error` that the SDKs of OpenAI read."""

import json
import re
from http import HTTPStatus
from typing import Final

from aws_lambda_powertools.event_handler import Response

from common.api.http import PROBLEM_JSON, Problem, answer
from common.api.serializers import SENTENCES
from common.domain.errors import CallerError
from common.domain.task import FailureCode, TaskRecord

STILL_RUNNING: Final = "still_running"
"""The code of a held call that reached its last redirect before its task ended."""

NEVER_RETRIED: Final = frozenset(
    {*FailureCode, "budget_exhausted", "queue_full", "idempotency_key_reused", STILL_RUNNING}
)
"""The codes with `x-should-retry: false`: the SDK would repeat the call within seconds, to no effect."""

FAILURE_STATUS: Final = {
    FailureCode.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    FailureCode.CONTEXT_LENGTH_EXCEEDED: HTTPStatus.BAD_REQUEST,
    FailureCode.CONTENT_POLICY: HTTPStatus.BAD_REQUEST,
    FailureCode.MODEL_NOT_FOUND: HTTPStatus.NOT_FOUND,
    FailureCode.CANCELLED: HTTPStatus.CONFLICT,
    FailureCode.REQUEST_TOO_LARGE: HTTPStatus.CONTENT_TOO_LARGE,
    FailureCode.QUOTA_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    FailureCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""The status of a task that failed with a code; every other code is 502, a fault between Sluice and the provider."""

_TYPES: Final = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_QUOTAS: Final = frozenset({"budget_exhausted", FailureCode.QUOTA_EXHAUSTED})

_INDEX: Final = re.compile(r"0|[1-9][0-9]*")


class TooManyHeldCalls(CallerError):
    """Refuse a call that would be held, before anything is accepted: there are as many as the limits allow."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too_many_held_calls"

    def __init__(self, retry_after: int) -> None:
        """Take the seconds after which the caller may try again."""
        super().__init__("too many calls are held at this moment; nothing was accepted")
        self.retry_after = retry_after


def error_response(problem: Problem, request_id: str) -> Response[str]:
    """Build the response of a problem."""
    pointer = problem.errors[0]["pointer"] if problem.errors else None
    param = problem.members.get("param") or (param_of(pointer) if pointer else None)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "request_id": request_id,
        **problem.members,
        "error": {
            "message": problem.detail,
            "type": _type_of(problem),
            "param": param,
            "code": problem.code,
        },
    }
    if problem.errors:
        body["errors"] = problem.errors
    headers = {"x-request-id": request_id}
    if problem.code in NEVER_RETRIED:
        headers["x-should-retry"] = "false"
    if problem.retry_after is not None:
        headers["retry-after-ms"] = str(problem.retry_after * 1000)
    return answer(
        problem.status, json.dumps(body), headers=headers, retry_after=problem.retry_after, content_type=PROBLEM_JSON
    )


def problem_of_task(record: TaskRecord, object_id: str) -> Problem:
    """Return the problem of a task that failed or was cancelled; `object_id` is its ID in these endpoints."""
    code = record.code or FailureCode.CANCELLED
    text = SENTENCES[code] if record.code else "The task was cancelled."
    provider_error = record.attempts[-1].provider_error if record.attempts else None
    members = {"task_id": record.ref.task_id}
    if record.last_code is not None:
        members["last_code"] = record.last_code
    if provider_error and provider_error.param:
        members["param"] = provider_error.param
    status = FAILURE_STATUS.get(code, HTTPStatus.BAD_GATEWAY)
    return Problem(status, code, f"{text} The task of this call is {object_id}.", members=members)


def problem_of_running(object_id: str) -> Problem:
    """Return the problem of a held call that may not be redirected once more."""
    return Problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        STILL_RUNNING,
        f"The task has not ended in the time that a call can be held. It goes on: retrieve {object_id} later.",
    )


def param_of(pointer: str) -> str | None:
    """Return a JSON pointer as OpenAI names a parameter: `/messages/0/content` is `messages[0].content`."""
    param = ""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if param and _INDEX.fullmatch(name):
            param += f"[{name}]"
        else:
            param += f".{name}" if param else name
    return param or None


def _type_of(problem: Problem) -> str:
    if problem.code in _QUOTAS:
        return "insufficient_quota"
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    return _TYPES.get(HTTPStatus(problem.status), "invalid_request_error")
