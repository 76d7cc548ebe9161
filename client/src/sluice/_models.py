"""The API's responses as frozen dataclasses. `raw` keeps the JSON, with fields that this version does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from sluice import _fields
from sluice._exceptions import TaskCancelledError, TaskFailedError, TaskGoneError
from sluice._fields import Json


class TaskStatus(StrEnum):
    """The status of a task or a batch."""

    QUEUED = "queued"
    """Accepted, waiting."""
    PROCESSING = "processing"
    """A worker is calling the model."""
    COMPLETED = "completed"
    """`result` is available."""
    FAILED = "failed"
    """`error` says why."""
    CANCELLED = "cancelled"
    """Cancelled before it ended."""
    EXPIRED = "expired"
    """Its retention is over; the record is gone."""
    NOT_FOUND = "not_found"
    """No task of yours has this ID."""
    ENDED = "ended"
    """Of a batch: every task has ended."""
    UNKNOWN = "unknown"
    """A status that this version does not know; `raw` has it."""

    @classmethod
    def _missing_(cls, _: object) -> "TaskStatus":
        return cls.UNKNOWN

    @property
    def has_ended(self) -> bool:
        """Return True if the status is final."""
        return self not in {TaskStatus.QUEUED, TaskStatus.PROCESSING, TaskStatus.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts, as the provider billed them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0

    @classmethod
    def of(cls, body: Json) -> Self:
        """Parse the API's JSON."""
        return cls(**{name: _fields.whole(body, name) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class ProviderDetails:
    """What identifies an error at the model's provider; each is None if the provider did not say it."""

    code: str | None = None
    param: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, body: Json | None) -> Self | None:
        """Parse the API's JSON."""
        return None if body is None else cls(**{name: _fields.text(body, name) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed; `last_code` is the last attempt's code if all attempts failed."""

    code: str
    detail: str
    last_code: str | None = None
    provider_error: ProviderDetails | None = None

    @classmethod
    def of(cls, body: Json) -> Self:
        """Parse the API's JSON."""
        return cls(
            _fields.text(body, "code") or "unknown",
            _fields.text(body, "detail") or "",
            _fields.text(body, "last_code"),
            ProviderDetails.of(_fields.mapping(body, "provider_error")),
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that may have cost money; `code` is None while it runs and if it succeeded."""

    started_at: datetime | None
    ended_at: datetime | None
    code: str | None
    provider_error: ProviderDetails | None = None

    @classmethod
    def of(cls, body: Json) -> Self:
        """Parse the API's JSON."""
        provider_error = ProviderDetails.of(_fields.mapping(body, "provider_error"))
        started_at, ended_at = _fields.time(body, "started_at"), _fields.time(body, "ended_at")
        return cls(started_at, ended_at, _fields.text(body, "code"), provider_error)


@dataclass(frozen=True, slots=True)
class Task:
    """A task: one prompt, its status and its result."""

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
    refusal: str | None = field(default=None, repr=False)
    """The text in which the model refused to answer."""
    response: Json | None = field(default=None, repr=False)
    """The provider's whole object, where the call asked for the field `response`."""
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
        """Parse the API's JSON."""
        return cls(
            task_id=_fields.required_text(body, "task_id"),
            status=TaskStatus(_fields.required_text(body, "status")),
            batch_id=_fields.text(body, "batch_id"),
            custom_id=_fields.text(body, "custom_id"),
            model=_fields.text(body, "model"),
            progress=_fields.whole(body, "progress"),
            waiting_on=_fields.text(body, "waiting_on"),
            partial_result=_fields.text(body, "partial_result"),
            result=_fields.text(body, "result"),
            tool_calls=tuple(_fields.mappings(body, "tool_calls")),
            finish_reason=_fields.text(body, "finish_reason"),
            truncated=_fields.flag(body, "truncated"),
            refusal=_fields.text(body, "refusal"),
            response=_fields.mapping(body, "response"),
            usage=_usage(body),
            cost_usd=_fields.usd(body, "cost"),
            error=Failure.of(error) if (error := _fields.mapping(body, "error")) else None,
            attempts=tuple(Attempt.of(each) for each in _fields.mappings(body, "attempts")),
            created_at=_fields.time(body, "created_at"),
            started_at=_fields.time(body, "started_at"),
            ended_at=_fields.time(body, "ended_at"),
            deadline_at=_fields.time(body, "deadline_at"),
            expires_at=_fields.time(body, "expires_at"),
            retried_as=_fields.text(body, "retried_as"),
            raw=body,
        )

    @classmethod
    def api_fields(cls) -> frozenset[str]:
        """Return the names of a task's fields in the API: those of this class, but for `cost_usd` and `raw`."""
        names = {each.name for each in fields(cls)} - {"raw"}
        return frozenset("cost" if name == "cost_usd" else name for name in names)

    @property
    def has_ended(self) -> bool:
        """Return True if the status is final."""
        return self.status.has_ended

    @property
    def text(self) -> str:
        """Return the result's text.

        Raises:
            TaskError: the task failed, was cancelled, is gone, or has not ended.

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
    """A workflow of the service; `input_schema` is the JSON Schema of its inputs."""

    name: str
    description: str
    input_schema: Json = field(repr=False)

    @classmethod
    def of(cls, body: Json) -> Self:
        """Parse the API's JSON."""
        return cls(
            _fields.required_text(body, "name"),
            _fields.text(body, "description") or "",
            _fields.mapping(body, "input_schema") or {},
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The tasks of one call of `submit`; `tasks` is a page of them, without results."""

    batch_id: str
    status: TaskStatus
    size: int = 0
    progress: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    estimated: Json | None = field(default=None, repr=False)
    """How much of `usage` and `cost_usd` is an estimate, of calls whose bill the provider did not tell."""
    created_at: datetime | None = None
    deadline_at: datetime | None = None
    expires_at: datetime | None = None
    tasks: tuple[Task, ...] = field(default=(), repr=False)
    webhook: Json | None = field(default=None, repr=False)
    """Its URL, its events and how far the delivery is."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Json) -> Self:
        """Parse the API's JSON."""
        return cls(
            batch_id=_fields.required_text(body, "batch_id"),
            status=TaskStatus(_fields.required_text(body, "status")),
            size=_fields.whole(body, "size"),
            progress=_fields.whole(body, "progress"),
            counts=_fields.counts(body, "counts"),
            metadata=_fields.mapping(body, "metadata") or {},
            usage=_usage(body),
            cost_usd=_fields.usd(body, "cost"),
            estimated=_fields.mapping(body, "estimated"),
            created_at=_fields.time(body, "created_at"),
            deadline_at=_fields.time(body, "deadline_at"),
            expires_at=_fields.time(body, "expires_at"),
            tasks=tuple(Task.of(each) for each in _fields.mappings(body, "tasks")),
            webhook=_fields.mapping(body, "webhook"),
            raw=body,
        )

    @property
    def has_ended(self) -> bool:
        """Return True if every task has ended."""
        return self.status is TaskStatus.ENDED

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Return the IDs of its tasks: the batch ID and the index in the call."""
        return tuple(f"{self.batch_id}-{place}" for place in range(self.size))


@dataclass(frozen=True, slots=True)
class Submission:
    """An accepted call. Keep `batch_id` or `idempotency_key`: each leads back to the tasks."""

    batch_id: str
    task_ids: tuple[str, ...]
    idempotency_key: str
    replayed: bool = False
    """The service had accepted this call before and created no new tasks."""
    status: TaskStatus = TaskStatus.QUEUED
    tasks: tuple[Task, ...] = field(default=(), repr=False)
    created_at: datetime | None = None
    deadline_at: datetime | None = None
    expires_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Json, *, idempotency_key: str, replayed: bool) -> Self:
        """Parse the API's JSON."""
        return cls(
            batch_id=_fields.required_text(body, "batch_id"),
            task_ids=tuple(_fields.texts(body, "task_ids")),
            idempotency_key=idempotency_key,
            replayed=replayed,
            status=TaskStatus(_fields.text(body, "status") or "queued"),
            tasks=tuple(Task.of(each) for each in _fields.mappings(body, "tasks")),
            created_at=_fields.time(body, "created_at"),
            deadline_at=_fields.time(body, "deadline_at"),
            expires_at=_fields.time(body, "expires_at"),
            raw=body,
        )


def _usage(body: Json) -> Usage | None:
    usage = _fields.mapping(body, "usage")
    return Usage.of(usage) if usage else None
