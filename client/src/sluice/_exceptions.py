"""The exceptions. Catch SluiceError for all of them, or a subclass that you can handle.

SluiceError
├── NotConfiguredError          no URL or no key was given
├── ServiceUnreachableError     no response arrived within the patience
├── UnreadableAnswerError       the response is not from Sluice
├── WaitTimeoutError            your timeout is over; the tasks continue
├── ProblemError                the service refused: `status`, `code`, `detail`, `faults`, `request_id`, `retry_after`
│   ├── InvalidRequestError         400, 413: the request breaks a rule; `faults` names each item
│   ├── AccessError                 401, 403: the key is unknown or lacks permission
│   ├── NotFoundError               404: there is no such task or batch
│   │   └── ExpiredError                410: its retention is over
│   ├── ConflictError               409
│   │   ├── KeyReusedError              another request used this idempotency key
│   │   ├── AlreadyEndedError           the task had completed or failed
│   │   └── NothingToRetryError         no failed task can be retried
│   ├── LimitedError                429: a rate or capacity limit
│   │   ├── BudgetExhaustedError        the tenant's budget of the day is used up
│   │   └── QueueFullError              the queue is full
│   └── ServiceError                5xx: still failing after all retries
└── TaskError                   a task ended without a result; `task` holds it. Raised by `Task.text` only
    ├── TaskFailedError             `code` says why
    ├── TaskCancelledError
    └── TaskGoneError               expired, or never existed
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sluice._models import Task


class SluiceError(Exception):
    """Base of every exception of this package."""


class NotConfiguredError(SluiceError):
    """The URL or the key is missing or malformed."""


class ServiceUnreachableError(SluiceError):
    """No response arrived, after all retries."""


class UnreadableAnswerError(SluiceError):
    """The response is not from Sluice, for example a proxy's error page."""


class WaitTimeoutError(SluiceError, TimeoutError):
    """The timeout is over. `task_ids` have not ended; they continue and can be waited for again."""

    def __init__(self, seconds: float, task_ids: tuple[str, ...]) -> None:
        super().__init__(f"{len(task_ids)} tasks have not ended after {seconds:g} s; they continue")
        self.task_ids = task_ids


@dataclass(frozen=True, slots=True)
class Fault:
    """One invalid item: its JSON pointer in the request, a stable code, and the rule it breaks."""

    pointer: str
    code: str
    detail: str


class ProblemError(SluiceError):
    """The service refused the request with a problem document (RFC 9457)."""

    def __init__(self, status: int, body: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.status = status
        self.code = str(body.get("code") or "unknown")
        self.detail = str(body.get("detail") or body.get("message") or "no reason given")
        self.request_id = str(body.get("request_id") or "")
        self.retry_after = retry_after
        self.body = body
        errors = body.get("errors")
        self.faults = tuple(
            Fault(str(each.get("pointer", "")), str(each.get("code", "")), str(each.get("detail", "")))
            for each in (errors if isinstance(errors, list) else ())
            if isinstance(each, dict)
        )
        super().__init__(f"{self.detail} ({self.status} {self.code})")


class InvalidRequestError(ProblemError):
    """The request breaks a rule; `faults` names each item."""


class AccessError(ProblemError):
    """The key is unknown or lacks permission."""


class NotFoundError(ProblemError):
    """There is no such task or batch."""


class ExpiredError(NotFoundError):
    """The retention of this task or batch is over."""


class ConflictError(ProblemError):
    """The request conflicts with the current state."""


class KeyReusedError(ConflictError):
    """Another request used this idempotency key."""


class AlreadyEndedError(ConflictError):
    """The task has completed or failed and cannot be cancelled."""


class NothingToRetryError(ConflictError):
    """No failed task of this batch can be retried."""


class LimitedError(ProblemError):
    """A rate or capacity limit applies; retry after `retry_after` seconds."""


class BudgetExhaustedError(LimitedError):
    """The tenant's budget of the day is used up."""


class QueueFullError(LimitedError):
    """The queue is full for this tenant or as a whole."""


class ServiceError(ProblemError):
    """The service still fails after all retries."""


class TaskError(SluiceError):
    """A task ended without a result."""

    def __init__(self, task: "Task", text: str) -> None:
        super().__init__(f"{task.task_id}: {text}")
        self.task = task


class TaskFailedError(TaskError):
    """The task failed; `code` is its error code, or the last attempt's if all attempts failed."""

    def __init__(self, task: "Task", text: str, code: str) -> None:
        super().__init__(task, text)
        self.code = code


class TaskCancelledError(TaskError):
    """The task was cancelled."""


class TaskGoneError(TaskError):
    """The task has expired, or no task has this ID."""


_BY_CODE: Final[Mapping[str, type[ProblemError]]] = {
    "expired": ExpiredError,
    "idempotency_key_reused": KeyReusedError,
    "already_ended": AlreadyEndedError,
    "nothing_to_retry": NothingToRetryError,
    "budget_exhausted": BudgetExhaustedError,
    "queue_full": QueueFullError,
    "queue_share_full": QueueFullError,
}
_BY_STATUS: Final[Mapping[int, type[ProblemError]]] = {
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    429: LimitedError,
}
_SERVER_ERROR: Final = 500


def problem_of(status: int, body: Mapping[str, Any], *, retry_after: float | None = None) -> ProblemError:
    """Return the exception of a response: by its code, or by its status if this version does not know the code."""
    by_status = ServiceError if status >= _SERVER_ERROR else _BY_STATUS.get(status, InvalidRequestError)
    return _BY_CODE.get(str(body.get("code")), by_status)(status, body, retry_after=retry_after)
