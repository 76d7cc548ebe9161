"""Define a call before and after it is accepted, and why its Idempotency-Key may be refused. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.domain.errors import Conflict
from common.domain.request import Request
from common.domain.task import BatchRecord, TaskRef, TaskSpec
from common.webhooks.model import Webhook


class IdempotencyKeyInUse(Conflict):
    """Another call with the same request and Idempotency-Key is in progress."""

    code = "idempotency_key_in_use"
    retry_after = 2


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(TaskSpec):
    """Hold a request, and the spec of its task."""

    request: Request
    expected_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """Hold the Idempotency-Key of a request, and the SHA-256 of its body."""

    key: str = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class SubmitCall:
    """Hold a valid call: at least one prompt, and the terms of all prompts.

    `deadline_seconds` run from now, `retention_seconds` from a task's end. `metadata` is kept with the batch.
    """

    prompts: tuple[Prompt, ...]
    deadline_seconds: int
    retention_seconds: int
    metadata: Mapping[str, str] | None = field(default=None, repr=False)
    webhook: Webhook | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Hold the ids of an accepted call, in the order of its prompts; `replayed` if an earlier call had accepted it.

    Times are milliseconds since 1970; a task that ends before its deadline expires as much before `expires_ms`.
    """

    batch_id: str
    refs: tuple[TaskRef, ...]
    created_ms: int
    deadline_ms: int
    expires_ms: int
    replayed: bool

    @classmethod
    def of(cls, batch: BatchRecord) -> "Accepted":
        """Return a batch that an earlier call has accepted."""
        return cls(
            batch.batch_id, tuple(batch.refs()), batch.created_ms, batch.deadline_ms, batch.expires_ms, replayed=True
        )
