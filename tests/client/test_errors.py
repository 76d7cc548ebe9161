"""The tree of errors: whatever the API's codes, each is a type that says who can do something about it."""

import re

import pytest

import sluice
from local.settings import ROOT
from sluice import ProblemError, SluiceError, Task, TaskCancelledError, TaskFailedError, TaskGoneError
from sluice._exceptions import problem_of

_ROW = re.compile(r"^\| (?P<statuses>\d{3}[^|]*)\| (?P<codes>[^|]+)\|$", re.MULTILINE)
KINDS = {
    400: sluice.InvalidRequestError,
    413: sluice.InvalidRequestError,
    401: sluice.AccessError,
    403: sluice.AccessError,
    404: sluice.NotFoundError,
    410: sluice.ExpiredError,
    409: sluice.ConflictError,
    429: sluice.LimitedError,
    500: sluice.ServiceError,
    503: sluice.ServiceError,
}


def documented() -> list[tuple[int, str]]:
    section = (ROOT / "docs" / "api.md").read_text().partition("## Errors")[2].partition("### Why a task failed")[0]
    return [
        (int(status), code)
        for row in _ROW.finditer(section)
        for status in re.findall(r"\d{3}", row["statuses"])
        for code in re.findall(r"`([a-z_]+)`", row["codes"])
    ]


def test_the_api_description_has_error_codes() -> None:
    assert len(documented()) > 30


@pytest.mark.parametrize(("status", "code"), documented())
def test_each_code_of_the_api_has_a_type(status: int, code: str) -> None:
    error = problem_of(status, {"code": code, "detail": "why"}, retry_after=3)

    assert isinstance(error, KINDS[status])
    assert (error.status, error.code, error.detail, error.retry_after) == (status, code, "why", 3)


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (409, "nothing_to_retry", "NothingToRetryError"),
        (409, "already_ended", "AlreadyEndedError"),
        (429, "budget_exhausted", "BudgetExhaustedError"),
        (429, "queue_full", "QueueFullError"),
        (429, "queue_share_full", "QueueFullError"),
        (418, "a_code_of_tomorrow", "InvalidRequestError"),
        (599, "a_code_of_tomorrow", "ServiceError"),
    ],
)
def test_errors_that_callers_handle_have_their_own_type(status: int, code: str, name: str) -> None:
    assert type(problem_of(status, {"code": code})).__name__ == name


@pytest.mark.parametrize(
    "body", [{}, {"errors": "no list"}, {"errors": [1, {"pointer": "/a"}]}, {"message": "Forbidden"}]
)
def test_an_incomplete_problem_document_is_still_an_error(body: dict[str, object]) -> None:
    assert isinstance(problem_of(403, body), ProblemError)


def test_the_tree_in_the_description_is_the_tree() -> None:
    described = re.findall(r"[├└]── (\w+)", sluice._exceptions.__doc__ or "")
    defined = {
        name
        for name, value in vars(sluice._exceptions).items()
        if isinstance(value, type) and issubclass(value, SluiceError) and value is not SluiceError
    }

    assert set(described) == defined
    assert defined <= set(sluice.__all__)


@pytest.mark.parametrize(
    ("body", "error", "word"),
    [
        ({"status": "failed", "error": {"code": "content_policy", "detail": "no"}}, TaskFailedError, "content_policy"),
        (
            {"status": "failed", "error": {"code": "attempts_exhausted", "last_code": "timeout"}},
            TaskFailedError,
            "timeout",
        ),
        ({"status": "failed"}, TaskFailedError, "unknown"),
        ({"status": "cancelled"}, TaskCancelledError, "cancelled"),
        ({"status": "expired"}, TaskGoneError, "expired"),
        ({"status": "not_found"}, TaskGoneError, "not known"),
        ({"status": "queued"}, TaskFailedError, "not ended"),
    ],
)
def test_a_task_without_an_answer_says_why(body: dict[str, object], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        _ = Task.of({"task_id": "b-0", **body}).text
