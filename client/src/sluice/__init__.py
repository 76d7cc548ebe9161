"""The client of Sluice, an asynchronous LLM task API: send prompts, get ids at once, read each answer when it exists.

from sluice import Sluice, TaskError

with Sluice("https://…/prod", api_key) as sluice:
    for outcome in sluice.map(["A joke about plants", "A joke about food"]):
        try:
            print(outcome.task.text)
        except TaskError as error:
            print(f"Prompt {outcome.index} has no result: {error}")
"""

from sluice._bulk import Chunk, Outcome
from sluice._client import AsyncSluice, Sluice
from sluice._events import Delta, Ended, Event, Reset, StatusChanged
from sluice._exceptions import (
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
from sluice._models import Attempt, Batch, Failure, ProviderDetails, Submission, Task, TaskStatus, Usage, Workflow
from sluice._polling import PendingProgress
from sluice._prompts import Prompt, Prompts
from sluice._retries import Retry
from sluice._version import __version__

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
    "PendingProgress",
    "ProblemError",
    "Prompt",
    "Prompts",
    "ProviderDetails",
    "QueueFullError",
    "Reset",
    "Retry",
    "ServiceError",
    "ServiceUnreachableError",
    "Sluice",
    "SluiceError",
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
    "__version__",
]
