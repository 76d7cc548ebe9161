"""The client of Sluice, an asynchronous LLM task API: send prompts, get ids at once, read each answer when it exists.

from sluice import Sluice

with Sluice("https://…/prod", api_key) as sluice:
    for outcome in sluice.map(["A joke about plants", "A joke about food"]):
        print(outcome.task.text)
"""

from sluice.answers import Attempt, Batch, Failure, Submission, Task, TaskStatus, Usage, Workflow
from sluice.client import AsyncSluice, Sluice
from sluice.errors import (
    AccessError,
    AlreadyEndedError,
    BudgetExhaustedError,
    ConflictError,
    ExpiredError,
    Fault,
    InvalidRequestError,
    KeyReusedError,
    LimitedError,
    NotConfiguredError,
    NotFoundError,
    NothingToRetryError,
    ProblemError,
    QueueFullError,
    ServiceError,
    ServiceUnreachableError,
    SluiceError,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskGoneError,
    UnreadableAnswerError,
    WaitTimeoutError,
)
from sluice.events import Delta, Ended, Event, Reset, StatusChanged
from sluice.mapping import Chunk, Outcome
from sluice.retries import Retry
from sluice.watching import Standing

__all__ = [
    "AccessError",
    "AlreadyEndedError",
    "AsyncSluice",
    "Attempt",
    "Batch",
    "BudgetExhaustedError",
    "Chunk",
    "ConflictError",
    "Delta",
    "Ended",
    "Event",
    "ExpiredError",
    "Failure",
    "Fault",
    "InvalidRequestError",
    "KeyReusedError",
    "LimitedError",
    "NotConfiguredError",
    "NotFoundError",
    "NothingToRetryError",
    "Outcome",
    "ProblemError",
    "QueueFullError",
    "Reset",
    "Retry",
    "ServiceError",
    "ServiceUnreachableError",
    "Sluice",
    "SluiceError",
    "Standing",
    "StatusChanged",
    "Submission",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskGoneError",
    "TaskStatus",
    "UnreadableAnswerError",
    "Usage",
    "WaitTimeoutError",
    "Workflow",
]
