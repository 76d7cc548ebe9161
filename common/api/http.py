"""Build HTTP responses: the resolver of all functions behind the API, and the mapping of errors to responses.

Every error is `application/problem+json` (RFC 9457) with a stable `code`. The text of an unexpected exception is
neither sent nor logged: it may quote the caller.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from common.api.auth_context import Caller, CallerUnreadable
from common.domain.errors import CallerError, InvalidItems, SluiceError, Unavailable
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"


class NoTenant(SluiceError):
    """The request came without a tenant: this API was deployed without its authorizer."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Describe an error; `errors` names each faulty item, `retry_after` is in seconds, `members` are added."""

    status: int
    code: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    retry_after: int | None = None
    members: Mapping[str, str] = field(default_factory=dict)

    def response(self, request_id: str) -> Response[str]:
        """Build the RFC 9457 response."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            **self.members,
        }
        if self.errors:
            body["errors"] = self.errors
        return answer(self.status, json.dumps(body), retry_after=self.retry_after, content_type=PROBLEM_JSON)


def resolver(
    telemetry: Telemetry, render: Callable[[Problem, str], Response[str]] = Problem.response
) -> APIGatewayRestResolver:
    """Create a resolver without routes that maps every error to a problem, and counts it by its code.

    Args:
        telemetry: logs unexpected errors, and counts all.
        render: builds the response from a problem and the ID of the request.

    """
    # Powertools' debug mode prints events, and events carry prompts: not even POWERTOOLS_DEV turns it on.
    app = APIGatewayRestResolver(debug=False)

    def no_route(_: Exception) -> Problem:
        return Problem(404, "not_found", "No such path, or not with this method.")

    def unavailable(error: Unavailable) -> Problem:
        telemetry.logger.warning("A dependency is unavailable", extra={"code": error.code, "cause": str(error)})
        text = "A dependency is unavailable. Retry the same request later."
        return Problem(503, error.code, text, retry_after=error.retry_after)

    def unexpected(error: Exception) -> Problem:
        telemetry.logger.error("Unexpected error", exc_info=error)
        return Problem(500, "internal_error", "Internal error. The log has it under `request_id`.")

    def as_response(shown: Callable[[Any], Problem]) -> Callable[[Any], Response[str]]:
        def respond(error: Any) -> Response[str]:  # noqa: ANN401  # each `shown` takes a class of its own
            problem = shown(error)
            is_theirs = problem.status < HTTPStatus.INTERNAL_SERVER_ERROR
            telemetry.count(Metric.CLIENT_ERRORS if is_theirs else Metric.SERVER_ERRORS, code=problem.code)
            return render(problem, app.lambda_context.aws_request_id)

        return respond

    # Powertools looks a handler up by the error's own class first, then by its bases.
    app.exception_handler(NotFoundError)(as_response(no_route))
    app.exception_handler(CallerError)(as_response(refused))
    app.exception_handler(Unavailable)(as_response(unavailable))
    app.exception_handler(Exception)(as_response(unexpected))
    return app


def refused(error: CallerError) -> Problem:
    """Return the problem of a refused request: each faulty item, and the rule that it breaks."""
    faults = error.errors if isinstance(error, InvalidItems) else (error,)
    items = [
        {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail}
        for fault in faults
        if fault.pointer is not None
    ]
    detail = error.detail if not error.pointer else f"{error.pointer}: {error.detail}"
    return Problem(error.status, error.code, detail, items, error.retry_after, error.members)


def answer(
    status: int,
    body: str,
    *,
    headers: Mapping[str, str] | None = None,
    retry_after: int | None = None,
    content_type: str = JSON,
) -> Response[str]:
    """Build a JSON response that must not be cached: the state of tasks changes."""
    fields = {"Cache-Control": "no-store", **(headers or {})}
    if retry_after is not None:
        fields["Retry-After"] = str(retry_after)
    return Response(status_code=status, content_type=content_type, body=body, headers=fields)


def tenant_of(event: APIGatewayProxyEvent) -> str:
    """Return the tenant of a request, from the authorizer's context and never from the request itself.

    Raises:
        NoTenant: the request has no context of the authorizer.

    """
    return caller_of(event).tenant


def caller_of(event: APIGatewayProxyEvent) -> Caller:
    """Return the caller of a request, from the authorizer's context and never from the request itself.

    Raises:
        NoTenant: the request has no context of the authorizer, or an unreadable one.

    """
    try:
        return Caller.of(event["requestContext"].get("authorizer") or {})
    except CallerUnreadable:
        raise NoTenant from None
