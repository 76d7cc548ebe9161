"""What can go wrong. Catch SluiceError for all of it, or as much of this tree as you can do something about.

SluiceError
├── NotConfiguredError          no URL or no key was given
├── ServiceUnreachableError     no answer came: wrong address, no network, or too slow, for as long as we had patience
├── UnreadableAnswerError       an answer came that is not Sluice's
├── WaitTimeoutError            your own limit of time is over; the tasks go on
├── ProblemError                Sluice refused: `status`, `code`, `detail`, `faults`, `request_id`, `retry_after`
│   ├── InvalidRequestError         400, 413: what was sent; `faults` names each item
│   ├── AccessError                 401, 403: the key
│   ├── NotFoundError               404: you have no such task or batch
│   │   └── ExpiredError                410: you had
│   ├── ConflictError               409
│   │   ├── KeyReusedError              another request had this idempotency key
│   │   ├── AlreadyEndedError           nothing left to cancel
│   │   └── NothingToRetryError         nothing there that failed
│   ├── LimitedError                429: too much at a time
│   │   ├── BudgetExhaustedError        the tenant's money for now
│   │   └── QueueFullError              the tenant's place in the queue
│   └── ServiceError                5xx: theirs, and they outlasted the retries
└── TaskError                   a task ended without an answer; `task` is it. Only `Task.text` raises these
    ├── TaskFailedError             `code` says why
    ├── TaskCancelledError
    └── TaskGoneError               expired, or never yours
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sluice._models import Task


class SluiceError(Exception):
    """Anything that this package raises by itself."""


class NotConfiguredError(SluiceError):
    """No URL or no key was given."""


class ServiceUnreachableError(SluiceError):
    """No answer came, however often we asked."""


class UnreadableAnswerError(SluiceError):
    """An answer came that is not Sluice's: another server, or a proxy's page."""


class WaitTimeoutError(SluiceError, TimeoutError):
    """The time that you gave is over. `task_ids` have not ended; they go on, and can be waited for again."""

    def __init__(self, seconds: float, task_ids: tuple[str, ...]) -> None:
        super().__init__(f"{len(task_ids)} tasks have not ended after {seconds:g} s; they go on")
        self.task_ids = task_ids


@dataclass(frozen=True, slots=True)
class Fault:
    """One item at fault: its JSON pointer in what was sent, a stable code, and the rule it breaks."""

    pointer: str
    code: str
    detail: str


class ProblemError(SluiceError):
    """Sluice refused, in its own words (RFC 9457)."""

    def __init__(self, status: int, body: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.status = status
        self.code = str(body.get("code") or "unknown")
        self.detail = str(body.get("detail") or body.get("message") or "no reason given")
        self.request_id = str(body.get("request_id") or "")
        self.retry_after = retry_after
        self.body = body
        self.faults = tuple(
            Fault(str(each.get("pointer", "")), str(each.get("code", "")), str(each.get("detail", "")))
            for each in body.get("errors") or ()
            if isinstance(each, dict)
        )
        super().__init__(f"{self.detail} ({self.status} {self.code})")


class InvalidRequestError(ProblemError):
    """What was sent breaks a rule; `faults` names each item."""


class AccessError(ProblemError):
    """The service does not know the key, or it may not do this."""


class NotFoundError(ProblemError):
    """You have no such task or batch."""


class ExpiredError(NotFoundError):
    """You had such a task or batch; its time is over."""


class ConflictError(ProblemError):
    """What is there does not go with what was asked."""


class KeyReusedError(ConflictError):
    """Another request had this idempotency key."""


class AlreadyEndedError(ConflictError):
    """There is nothing left to cancel."""


class NothingToRetryError(ConflictError):
    """Nothing of this batch can be asked again."""


class LimitedError(ProblemError):
    """Too much at a time; `retry_after` seconds may help."""


class BudgetExhaustedError(LimitedError):
    """The tenant's budget is spent for now."""


class QueueFullError(LimitedError):
    """The tenant has as much waiting as it may have."""


class ServiceError(ProblemError):
    """The fault is the service's, and outlasted our retries."""


class TaskError(SluiceError):
    """A task ended without an answer."""

    def __init__(self, task: "Task", text: str) -> None:
        super().__init__(f"{task.task_id}: {text}")
        self.task = task


class TaskFailedError(TaskError):
    """The task failed; `code` is its error's, or where attempts ran out the last one's."""

    def __init__(self, task: "Task", text: str, code: str) -> None:
        super().__init__(task, text)
        self.code = code


class TaskCancelledError(TaskError):
    """The task was taken back."""


class TaskGoneError(TaskError):
    """The task has expired, or there never was one of this id."""


_BY_CODE: Final[Mapping[str, type[ProblemError]]] = {
    "expired": ExpiredError,
    "idempotency_key_reused": KeyReusedError,
    "already_ended": AlreadyEndedError,
    "nothing_to_retry": NothingToRetryError,
    "budget_exhausted": BudgetExhaustedError,
    "queue_full": QueueFullError,
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
    """Choose the error of an answer: by its code, or where this version does not know that, by its status."""
    by_status = ServiceError if status >= _SERVER_ERROR else _BY_STATUS.get(status, InvalidRequestError)
    return _BY_CODE.get(str(body.get("code")), by_status)(status, body, retry_after=retry_after)
