"""Test that each known error becomes a problem+json with its code, and that others reveal nothing."""

import io
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from common.api.http import PROBLEM_JSON, NoTenant, resolver, tenant_of
from common.domain.errors import (
    CallerError,
    Conflict,
    InvalidItems,
    InvalidRequest,
    NotFound,
    QueueUnavailable,
    RequestTooLarge,
    StoreUnavailable,
    Unavailable,
)
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry, WordlessFormatter

REQUEST_ID = "1f9d6c1e"


@dataclass
class Context:
    aws_request_id: str = REQUEST_ID


class Site:
    """An API of one route, which raises what it is given."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        # Powertools keeps a logger for each service's name, and the stream with it.
        service = uuid4().hex
        logger = Logger(service=service, stream=self.log, logger_formatter=WordlessFormatter())
        self.telemetry = Telemetry(logger, Metrics(service=service, namespace="Sluice"), None)
        self.app = resolver(self.telemetry)
        self.error: Exception = CallerError("")

        @self.app.get("/thing")
        async def thing() -> None:
            raise self.error

    async def ask(self, method: str = "GET", path: str = "/thing") -> tuple[dict[str, Any], dict[str, Any]]:
        event = {"httpMethod": method, "path": path, "headers": None, "requestContext": {"stage": "v1", "path": path}}
        answer = await self.app.resolve_async(event, Context())  # type: ignore[arg-type]  # all it reads of a context
        return answer, json.loads(answer["body"])


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("x"), 400, "invalid_request"),
        (InvalidRequest("x", code="special"), 400, "special"),
        (RequestTooLarge("x"), 413, "request_too_large"),
        (NotFound("x"), 404, "not_found"),
        (Conflict("x"), 409, "conflict"),
        (StoreUnavailable("x"), 503, "store_unavailable"),
        (QueueUnavailable("x"), 503, "queue_unavailable"),
        (NoTenant(), 500, "internal_error"),
        (KeyError("x"), 500, "internal_error"),
        (ExceptionGroup("x", [ValueError()]), 500, "internal_error"),
    ],
)
async def test_an_error_is_a_problem_with_its_code_and_is_counted_by_it(
    site: Site, error: Exception, status: int, code: str
) -> None:
    site.error = error

    answer, problem = await site.ask()

    counted = Metric.CLIENT_ERRORS if status < 500 else Metric.SERVER_ERRORS
    assert site.telemetry.sums == {(counted, code, None): 1}

    assert answer["statusCode"] == problem["status"] == status
    assert answer["multiValueHeaders"]["Content-Type"] == [PROBLEM_JSON]
    assert answer["multiValueHeaders"]["Cache-Control"] == ["no-store"]
    assert problem["code"] == code
    assert problem["request_id"] == REQUEST_ID
    assert {"type", "title", "detail"} <= problem.keys()


@pytest.mark.parametrize(("method", "path"), [("GET", "/other"), ("POST", "/thing"), ("GET", "/"), ("GET", "/thing/x")])
async def test_what_is_not_there_is_a_404(site: Site, method: str, path: str) -> None:
    answer, problem = await site.ask(method, path)

    assert (answer["statusCode"], problem["code"]) == (404, "not_found")


async def test_one_item_at_fault_is_named(site: Site) -> None:
    site.error = InvalidRequest("must be small", pointer="/a/0", code="too_big")

    _, problem = await site.ask()

    assert problem["errors"] == [{"pointer": "/a/0", "code": "too_big", "detail": "must be small"}]
    assert problem["detail"] == "/a/0: must be small"


async def test_several_items_at_fault_are_each_named(site: Site) -> None:
    site.error = InvalidItems([RequestTooLarge("x", pointer="/a"), RequestTooLarge("y", pointer="/b")])

    answer, problem = await site.ask()

    assert answer["statusCode"] == 413
    assert [item["pointer"] for item in problem["errors"]] == ["/a", "/b"]


@pytest.mark.parametrize("kind", [StoreUnavailable, QueueUnavailable])
async def test_an_unavailable_part_says_when_to_come_back(site: Site, kind: type[Unavailable]) -> None:
    site.error = kind("x")

    answer, _ = await site.ask()

    assert answer["multiValueHeaders"]["Retry-After"] == [str(kind.retry_after)]


async def test_the_text_of_an_unexpected_error_is_neither_answered_nor_logged(site: Site) -> None:
    site.error = ValueError("my-secret")

    answer, _ = await site.ask()

    assert "my-secret" not in answer["body"]
    assert "my-secret" not in site.log.getvalue()
    logged = json.loads(site.log.getvalue())
    assert logged["exception_name"] == "ValueError"
    assert "test_problems.py" in logged["exception"]


@pytest.mark.filterwarnings("ignore:POWERTOOLS_DEV")
async def test_not_even_powertools_debug_mode_prints_events(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_DEV", "1")
    site = Site()

    await site.ask(path="/my-secret")

    assert "my-secret" not in capsys.readouterr().out


def event_with(context: dict[str, Any]) -> APIGatewayProxyEvent:
    return APIGatewayProxyEvent({"requestContext": context, "headers": {"tenant": "acme"}})


@pytest.mark.parametrize(
    "context",
    [{}, {"authorizer": None}, {"authorizer": {}}, *({"authorizer": {"tenant": bad}} for bad in ("", "a{b}", "A", 1))],
)
def test_a_request_that_no_authorizer_has_seen_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(NoTenant):
        tenant_of(event_with(context))


def test_the_tenant_is_what_the_authorizer_says() -> None:
    assert tenant_of(event_with({"authorizer": {"tenant": "acme-2", "principalId": "x"}})) == "acme-2"
