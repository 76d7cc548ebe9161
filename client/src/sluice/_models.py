"""The API's responses as frozen dataclasses. `raw` keeps the JSON, with fields that this version does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from sluice._exceptions import TaskCancelledError, TaskFailedError, TaskGoneError, UnreadableAnswerError

type Json = Mapping[str, Any]


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
        return cls(**{name: int(body.get(name) or 0) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class ProviderDetails:
    """What identifies an error at the model's provider; each is None if the provider did not say it."""

    code: str | None = None
    param: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, body: Json | None) -> Self | None:
        """Parse the API's JSON."""
        return None if body is None else cls(**{name: body.get(name) for name in cls.__slots__})


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
            str(body.get("code") or "unknown"),
            str(body.get("detail") or ""),
            body.get("last_code"),
            ProviderDetails.of(body.get("provider_error")),
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
        provider_error = ProviderDetails.of(body.get("provider_error"))
        return cls(_time(body.get("started_at")), _time(body.get("ended_at")), body.get("code"), provider_error)


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
            refusal=body.get("refusal"),
            response=body.get("response"),
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
        return cls(str(_needed(body, "name")), str(body.get("description", "")), dict(body.get("input_schema") or {}))


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
            batch_id=str(_needed(body, "batch_id")),
            status=TaskStatus(_needed(body, "status")),
            size=int(body.get("size") or 0),
            progress=int(body.get("progress") or 0),
            counts=dict(body.get("counts") or {}),
            metadata=dict(body.get("metadata") or {}),
            usage=_usage(body),
            cost_usd=_cost(body),
            estimated=body.get("estimated"),
            created_at=_time(body.get("created_at")),
            deadline_at=_time(body.get("deadline_at")),
            expires_at=_time(body.get("expires_at")),
            tasks=tuple(Task.of(each) for each in body.get("tasks") or ()),
            webhook=body.get("webhook"),
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
        raise UnreadableAnswerError(f"The answer has no {name}: check the URL.")
    return body[name]


def _usage(body: Json) -> Usage | None:
    return Usage.of(body["usage"]) if body.get("usage") else None


def _cost(body: Json) -> Decimal | None:
    usd = (body.get("cost") or {}).get("usd")
    return None if usd is None else Decimal(str(usd))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
