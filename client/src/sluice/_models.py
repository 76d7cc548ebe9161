"""What Sluice answers, as frozen values. A field that this version does not know is in `raw`, and harms nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from sluice._exceptions import TaskCancelledError, TaskFailedError, TaskGoneError, UnreadableAnswerError

type Json = Mapping[str, Any]


class TaskStatus(StrEnum):
    """Where a task, or a batch, stands."""

    QUEUED = "queued"
    """Accepted, waiting."""
    PROCESSING = "processing"
    """The model is answering."""
    COMPLETED = "completed"
    """`result` is there."""
    FAILED = "failed"
    """`error` says why."""
    CANCELLED = "cancelled"
    """Taken back before it ended."""
    EXPIRED = "expired"
    """Its time is over; nothing is left of it."""
    NOT_FOUND = "not_found"
    """You have no task of this id."""
    ENDED = "ended"
    """Of a batch: each of its tasks has ended, however it did."""
    UNKNOWN = "unknown"
    """A status that is younger than this version; `raw` has it."""

    @classmethod
    def _missing_(cls, _: object) -> "TaskStatus":
        return cls.UNKNOWN

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing can change any more."""
        return self not in {TaskStatus.QUEUED, TaskStatus.PROCESSING, TaskStatus.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the provider billed them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read it."""
        return cls(**{name: int(body.get(name) or 0) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed; `last_code` is how the last attempt did, where attempts ran out."""

    code: str
    detail: str
    last_code: str | None = None

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read it."""
        return cls(str(body.get("code") or "unknown"), str(body.get("detail") or ""), body.get("last_code"))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that may have cost money; `code` says how it failed, unless it runs or brought the answer."""

    started_at: datetime | None
    ended_at: datetime | None
    code: str | None

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read it."""
        return cls(_time(body.get("started_at")), _time(body.get("ended_at")), body.get("code"))


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt, and how it stands."""

    task_id: str
    status: TaskStatus
    batch_id: str | None = None
    custom_id: str | None = None
    model: str | None = None
    progress: int = 0
    waiting_on: str | None = None
    partial_result: str | None = field(default=None, repr=False)
    result: str | None = field(default=None, repr=False)
    tool_calls: tuple[Json, ...] = field(default=(), repr=False)
    finish_reason: str | None = None
    truncated: bool = False
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    error: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    expires_at: datetime | None = None
    retried_as: str | None = None
    """The task that a retry made of this failed one."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read it."""
        return cls(
            task_id=str(_needed(body, "task_id")),
            status=TaskStatus(_needed(body, "status")),
            batch_id=body.get("batch_id"),
            custom_id=body.get("custom_id"),
            model=body.get("model"),
            progress=int(body.get("progress") or 0),
            waiting_on=body.get("waiting_on"),
            partial_result=body.get("partial_result"),
            result=body.get("result"),
            tool_calls=tuple(body.get("tool_calls") or ()),
            finish_reason=body.get("finish_reason"),
            truncated=bool(body.get("truncated")),
            usage=_usage(body),
            cost_usd=_cost(body),
            error=Failure.of(body["error"]) if body.get("error") else None,
            attempts=tuple(Attempt.of(each) for each in body.get("attempts") or ()),
            created_at=_time(body.get("created_at")),
            started_at=_time(body.get("started_at")),
            ended_at=_time(body.get("ended_at")),
            deadline_at=_time(body.get("deadline_at")),
            expires_at=_time(body.get("expires_at")),
            retried_as=body.get("retried_as"),
            raw=body,
        )

    @classmethod
    def api_fields(cls) -> frozenset[str]:
        """Return the names of a task's fields in the API: those of this class, but for `cost_usd` and `raw`."""
        names = {each.name for each in fields(cls)} - {"raw"}
        return frozenset("cost" if name == "cost_usd" else name for name in names)

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing can change any more."""
        return self.status.has_ended

    @property
    def text(self) -> str:
        """Give the answer's text.

        Raises:
            TaskError: there is none: the task failed, was cancelled, is gone, or has not ended.

        """
        match self.status:
            case TaskStatus.COMPLETED:
                return self.result or ""
            case TaskStatus.CANCELLED:
                raise TaskCancelledError(self, "was cancelled")
            case TaskStatus.EXPIRED | TaskStatus.NOT_FOUND:
                raise TaskGoneError(self, "has expired" if self.status is TaskStatus.EXPIRED else "is not known")
            case TaskStatus.FAILED:
                error = self.error or Failure("unknown", "")
                code = error.last_code or error.code
                raise TaskFailedError(self, f"failed: {code}: {error.detail}", code)
            case _:
                raise TaskFailedError(self, f"has not ended: it is {self.status}", "not_ended")


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow of the service; `input_schema` is the JSON schema of what it takes."""

    name: str
    description: str
    input_schema: Json = field(repr=False)

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read it."""
        return cls(str(_needed(body, "name")), str(body.get("description", "")), dict(body.get("input_schema") or {}))


@dataclass(frozen=True, slots=True)
class Batch:
    """One call of `submit`, and how its tasks stand; `tasks` is a page of them, without results."""

    batch_id: str
    status: TaskStatus
    size: int = 0
    progress: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    created_at: datetime | None = None
    deadline_at: datetime | None = None
    expires_at: datetime | None = None
    tasks: tuple[Task, ...] = field(default=(), repr=False)
    webhook: Json | None = field(default=None, repr=False)
    """Its URL, its events and how far the delivery is."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read it."""
        return cls(
            batch_id=str(_needed(body, "batch_id")),
            status=TaskStatus(_needed(body, "status")),
            size=int(body.get("size") or 0),
            progress=int(body.get("progress") or 0),
            counts=dict(body.get("counts") or {}),
            metadata=dict(body.get("metadata") or {}),
            usage=_usage(body),
            cost_usd=_cost(body),
            created_at=_time(body.get("created_at")),
            deadline_at=_time(body.get("deadline_at")),
            expires_at=_time(body.get("expires_at")),
            tasks=tuple(Task.of(each) for each in body.get("tasks") or ()),
            webhook=body.get("webhook"),
            raw=body,
        )

    @property
    def has_ended(self) -> bool:
        """Tell whether each task has ended."""
        return self.status is TaskStatus.ENDED

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Name its tasks: a task's id is its batch's id and its place in the call."""
        return tuple(f"{self.batch_id}-{place}" for place in range(self.size))


@dataclass(frozen=True, slots=True)
class Submission:
    """An accepted call. Keep `batch_id`, or the `idempotency_key`: either leads back to the tasks."""

    batch_id: str
    task_ids: tuple[str, ...]
    idempotency_key: str
    replayed: bool = False
    """The service had accepted this call before, and has asked nothing again."""
    status: TaskStatus = TaskStatus.QUEUED
    tasks: tuple[Task, ...] = field(default=(), repr=False)
    created_at: datetime | None = None
    deadline_at: datetime | None = None
    expires_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Json, *, idempotency_key: str, replayed: bool) -> Self:
        """Read it."""
        return cls(
            batch_id=str(_needed(body, "batch_id")),
            task_ids=tuple(str(each) for each in _needed(body, "task_ids")),
            idempotency_key=idempotency_key,
            replayed=replayed,
            status=TaskStatus(body.get("status", "queued")),
            tasks=tuple(Task.of(each) for each in body.get("tasks") or ()),
            created_at=_time(body.get("created_at")),
            deadline_at=_time(body.get("deadline_at")),
            expires_at=_time(body.get("expires_at")),
            raw=body,
        )


def _needed(body: Json, name: str) -> Any:  # noqa: ANN401 - JSON
    if name not in body:
        raise UnreadableAnswerError(f"The answer has no {name}: is this the address of a Sluice?")
    return body[name]


def _usage(body: Json) -> Usage | None:
    return Usage.of(body["usage"]) if body.get("usage") else None


def _cost(body: Json) -> Decimal | None:
    usd = (body.get("cost") or {}).get("usd")
    return None if usd is None else Decimal(str(usd))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
