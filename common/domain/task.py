"""Define a task: its identity, its states and the transitions between them.

Standard library only: every function imports this module at its cold start.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from common.domain.request import Kind
from common.webhooks.model import Webhook, WebhookDelivery

MAX_BATCH_SIZE: Final = 10_000
"""Tasks in one batch, at most: the index of a task id has four digits."""

_BIRTH_BYTES: Final = 6
"""A batch id opens with its birth, as in UUIDv7: milliseconds since 1970 in 48 bits."""

SHORTEST_RETENTION_SECONDS: Final = 3_600
"""A record can be read at least this long after it was made."""

_RANDOM_BYTES: Final = 16
"""And ends with 128 random bits, so that no id can be guessed."""

_BATCH_ID: Final = re.compile(r"[0-9a-v]{36}")
_TASK_ID: Final = re.compile(r"([0-9a-v]{36})-(0|[1-9][0-9]{0,3})")


class TaskStatus(StrEnum):
    """Name the states of a task's record."""

    QUEUED = "queued"
    """Accepted; its message waits in the queue, or waits out a back-off there."""
    PROCESSING = "processing"
    """A worker holds the lease and asks the model."""
    COMPLETED = "completed"
    """The model answered; the result is in the record."""
    FAILED = "failed"
    """It will not be tried again; the record says why in `code`."""
    CANCELLED = "cancelled"
    """Its owner took it back before it ended."""

    @property
    def is_terminal(self) -> bool:
        """Return whether the state never changes again."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = {
    # A repeat of `processing` is a claim after a lease has run out. `queued` may end without a claim: at its deadline,
    # in the dead-letter queue, or with an answer that arrives after Redis has lost the claim.
    TaskStatus.QUEUED: frozenset(
        {TaskStatus.PROCESSING, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED},
    ),
    TaskStatus.PROCESSING: frozenset(
        {TaskStatus.PROCESSING, TaskStatus.QUEUED, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED},
    ),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.CANCELLED: frozenset(),
}
"""The allowed transitions; the Lua scripts of common.store are tested against this table."""


TRUNCATED: Final = "length"
"""The finish reason of an answer that was cut at its token limit."""


class FailureCode(StrEnum):
    """Name why a try, or a whole task, failed. The values are part of the API and never change."""

    RATE_LIMITED = "rate_limited"
    """The model asked to slow down; waiting costs no attempt, but for a task that it refuses alone, again and again."""
    PAUSED = "paused"
    """The model is paused for all workers after a 429; waiting costs no attempt."""
    TIMEOUT = "timeout"
    """The model did not finish its answer in the time of one call."""
    CONNECTION = "connection"
    """The model could not be reached, or the connection broke."""
    SERVER_ERROR = "server_error"
    """The model answered 408, 409 or 5xx, or reported an error inside the stream."""
    STREAM_CUT = "stream_cut"
    """The answer ended without a finish reason."""
    UNREADABLE_ANSWER = "unreadable_answer"
    """The model's answer was not what its protocol says."""
    NO_CONTENT = "no_content"
    """The model's answer had no text and no tool calls, only content such as reasoning."""
    WORKER_STOPPED = "worker_stopped"
    """The worker's time ran out while the answer was under way."""
    WORKER_LOST = "worker_lost"
    """The worker that held the task was never heard of again."""
    CANCELLED = "cancelled"
    """The task was taken back while the answer was under way."""

    BAD_REQUEST = "bad_request"
    """The model refused the request as malformed (400 or 422)."""
    UNAUTHORIZED = "unauthorized"
    """The model refused the service's key (401)."""
    FORBIDDEN = "forbidden"
    """The service's key may not use this model (403)."""
    REDIRECTED = "redirected"
    """The provider answered with a redirect (3xx), which is not followed."""
    MODEL_NOT_FOUND = "model_not_found"
    """The model does not exist at the provider (404)."""
    REQUEST_TOO_LARGE = "request_too_large"
    """The provider does not take a request of this size (413), or no minute has room for its tokens."""
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    """Prompt and answer together do not fit the model's context."""
    ANSWER_TOO_LARGE = "answer_too_large"
    """The answer is larger than what can be read again; it was paid for, and another would be as well."""
    CONTENT_POLICY = "content_policy"
    """The provider's content filter refused the prompt or its answer."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The provider's account has no money or quota left: no wait cures it."""

    UNKNOWN_WORKFLOW = "unknown_workflow"
    """The workflow worker has no workflow of this name."""
    INVALID_INPUT = "invalid_input"
    """The input is not what the workflow takes."""
    CHAIN_FAILED = "chain_failed"
    """The workflow's own code raised an exception; its type is in the record."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    """Every allowed attempt failed; `last_code` says how the last one did."""
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """The deadline passed before an answer was there."""
    DEAD_LETTER = "dead_letter"
    """The queue gave its message up after too many receives."""
    NOT_ACCEPTED = "not_accepted"
    """The call that brought it was not answered with 202."""


class WaitingOn(StrEnum):
    """Name what a queued task waits for."""

    CAPACITY = "capacity"
    """A free slot in a worker."""
    RATE_LIMIT = "rate_limit"
    """Our own or the provider's limit of requests or tokens."""
    BUDGET = "budget"
    """The next day: its tenant's budget of tokens or money is used up."""
    PROVIDER = "provider"
    """The provider's recovery from an error: a back-off between two attempts."""


@dataclass(frozen=True, slots=True)
class TaskRef:
    """Address one task: whose, in which batch, at which place.

    `tenant` comes from the authorizer only, so a foreign id addresses nothing.
    """

    tenant: str
    batch_id: str
    index: int

    @property
    def task_id(self) -> str:
        """Return the id that the caller sees."""
        return f"{self.batch_id}-{self.index}"

    @classmethod
    def parse(cls, tenant: str, task_id: str) -> "TaskRef | None":
        """Read a caller's task id; None if no task can have it."""
        match = _TASK_ID.fullmatch(task_id)
        return cls(tenant, match[1], int(match[2])) if match else None


def refs_in(tenant: str, task_ids: Iterable[str]) -> list[TaskRef]:
    """Read a caller's task ids; those that no task can have are left out."""
    refs = (TaskRef.parse(tenant, task_id) for task_id in task_ids)
    return [ref for ref in refs if ref is not None]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Hold the fields that the caller sets for each task: the queue's message, the record and the API carry each.

    `model` is the name of the model, or of the workflow, that answers the request. A field that is added here belongs
    to `Task`, `TaskRecord` and every prompt of a call. Tests fail for each other place that does not carry it.
    """

    model: str
    custom_id: str | None = None

    def spec_fields(self) -> dict[str, Any]:
        """Return the fields of the spec by name, to make another task of it."""
        return {each.name: getattr(self, each.name) for each in fields(TaskSpec)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(TaskSpec):
    """State what never changes about a task; the queue's message carries it, so a lost record can be rebuilt.

    Times are milliseconds since 1970 by the store's clock; `retention_ms` is how long the ended task can be read.
    """

    ref: TaskRef
    batch_size: int
    created_ms: int
    deadline_ms: int
    retention_ms: int
    webhook: Webhook | None = None
    kind: Kind = Kind.CHAT


@dataclass(frozen=True, slots=True)
class Usage:
    """Count the tokens that the provider says it billed; `cached_tokens` are those of the prompt that cost less."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0


class ToolKind(StrEnum):
    """Name the kinds of tools; the values are chat completions'."""

    FUNCTION = "function"
    """Its arguments are JSON, as its schema says."""
    CUSTOM = "custom"
    """Its input is any text."""

    @property
    def argument(self) -> str:
        """Return the field that a call of this kind has for what it hands over."""
        return "arguments" if self is ToolKind.FUNCTION else "input"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Hold what the model wants a tool of the caller's to do; `arguments` are text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str = field(repr=False)
    kind: ToolKind = ToolKind.FUNCTION

    def encode(self) -> dict[str, Any]:
        """Return the call as a JSON object, as chat completions have it."""
        function = {"name": self.name, self.kind.argument: self.arguments}
        return {"id": self.call_id, "type": self.kind, self.kind.value: function}


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a finished answer of the model.

    `finish_reason` is TRUNCATED where the model cut it at its token limit, and None where the provider gave none. The
    text is empty where the model only calls tools, and may be even where it calls none. The cost is in billionths of a
    US dollar, None where it is not known. `refusal` is the text in which the model itself refused. `response` is the
    provider's whole object, unknown fields included, without the text that is in `text`; the module `views` of its kind
    puts it back.
    """

    text: str = field(repr=False)
    finish_reason: str | None
    usage: Usage | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    cost_nanos: int | None = None
    refusal: str | None = field(default=None, repr=False)
    response: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ProviderError:
    """Hold what identifies an error at the provider: its code, the parameter at fault, the ID of the request.

    Never its message, which may quote the prompt.
    """

    code: str | None = None
    param: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Show one try that may have cost money; times are milliseconds since 1970.

    `ended_ms` is None while it runs, and `code` where it brought the answer. `provider_error` is what the provider said
    of a failure, None where it said nothing.
    """

    started_ms: int
    ended_ms: int | None = None
    code: FailureCode | None = None
    provider_error: ProviderError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord(TaskSpec):
    """Show a task as the store holds it at one moment.

    `progress` is 0 while queued, below 100 while processing and 100 when completed. `attempts` are in the order they
    were made; those that were refunded are not among them. Times are milliseconds since 1970; `expires_ms` is when the
    record will be dropped. `failed_usage` and `failed_cost_nanos` are what the provider has billed for the call that
    made a task fail for good. A failed task may keep its request, `kept_bytes` of it; `retried_as` is the id of the
    task that was made of it.
    """

    ref: TaskRef
    status: TaskStatus
    progress: int
    attempts: tuple[Attempt, ...]
    created_ms: int
    deadline_ms: int
    expires_ms: int
    started_ms: int | None = None
    updated_ms: int | None = None
    ended_ms: int | None = None
    partial: str | None = None
    answer: Answer | None = None
    code: FailureCode | None = None
    last_code: FailureCode | None = None
    error_type: str | None = None
    failed_usage: Usage | None = None
    failed_cost_nanos: int | None = None
    waiting_on: WaitingOn | None = None
    kept_bytes: int | None = None
    retried_as: str | None = None
    kind: Kind = Kind.CHAT


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """Show a batch as the store holds it; its tasks are `TaskRef(tenant, batch_id, 0 … size - 1)`.

    `metadata` is the caller's own; it is lost where Redis lost the record, for the messages do not carry it. `usage`
    and `cost_nanos` are the sums over its calls, None before the first that has any; `estimated_tokens` and
    `estimated_nanos` of them are estimates. `is_accepted` once its call was
    answered with 202; `retry` is the id of the batch that its last retry made. `delivery` is that of the event that its
    webhook waits for.
    """

    tenant: str
    batch_id: str
    size: int
    created_ms: int
    deadline_ms: int
    expires_ms: int
    metadata: Mapping[str, str] | None = field(default=None, repr=False)
    usage: Usage | None = None
    cost_nanos: int | None = None
    estimated_tokens: int = 0
    estimated_nanos: int = 0
    is_accepted: bool = False
    retry: str | None = None
    webhook: Webhook | None = None
    delivery: WebhookDelivery = field(default_factory=WebhookDelivery)

    def refs(self) -> list[TaskRef]:
        """Address every task of the batch, in the order it was sent."""
        return [TaskRef(self.tenant, self.batch_id, index) for index in range(self.size)]


@dataclass(frozen=True, slots=True)
class NewBatch:
    """Ask the store to record a batch of queued tasks, all of one kind.

    `digest` is the SHA-256 of the request when it came with an Idempotency-Key, else None. Durations are milliseconds.
    """

    tenant: str
    batch_id: str
    tasks: Sequence[TaskSpec]
    deadline_in_ms: int
    retention_ms: int
    digest: str | None = field(default=None, repr=False)
    metadata: Mapping[str, str] | None = field(default=None, repr=False)
    webhook: Webhook | None = None
    kind: Kind = Kind.CHAT

    @property
    def size(self) -> int:
        """Count its tasks."""
        return len(self.tasks)


def new_batch_id(now_ms: int, random: bytes) -> str:
    """Make a batch id from its birth (milliseconds since 1970) and 16 random bytes."""
    if len(random) != _RANDOM_BYTES:
        message = f"a batch id takes {_RANDOM_BYTES} random bytes, not {len(random)}"
        raise ValueError(message)
    return _text_of(now_ms.to_bytes(_BIRTH_BYTES) + random)


def batch_id_of_key(tenant: str, idempotency_key: str) -> str:
    """Derive the batch id that a tenant's Idempotency-Key always gives; it tells neither of the two.

    It opens with a `v`, which a birth will do only after the year 10,000: such an id has no birth.
    """
    digest = hashlib.sha256(f"{len(tenant)}:{tenant}:{idempotency_key}".encode()).digest()
    return "v" + _text_of(digest[: _BIRTH_BYTES + _RANDOM_BYTES])[1:]


def birth_of(batch_id: str) -> int | None:
    """Return when a batch id was made, in milliseconds since 1970; None where it comes from an Idempotency-Key."""
    if batch_id.startswith("v"):
        return None
    # Ten characters are 50 bits, the birth is the first 48 of them.
    return int(batch_id[:10], 32) >> 2


def is_batch_id(text: str) -> bool:
    """Return whether a batch can have this id."""
    return _BATCH_ID.fullmatch(text) is not None


def _text_of(raw: bytes) -> str:
    # base32hex keeps the order of the bytes, so ids sort by birth.
    return base64.b32hexencode(raw).decode().rstrip("=").lower()
