"""Retry the failed tasks of a batch as new tasks, each once.

A failed task is marked in its record, together with all that are taken with it and with the batch, before anything is
sent. So a repeat finds what an earlier call took: it sends that if it was not sent, and shows it if it was.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import batched
from typing import Final, Protocol

from common.api.lookup import BatchReader, find_batch
from common.domain.budgets import Budgets
from common.domain.errors import Conflict, Gone, MessageError
from common.domain.message import TaskMessage
from common.domain.task import BatchRecord, NewBatch, TaskRecord, TaskRef, TaskStatus, batch_id_of_key
from common.kinds.registry import public_model
from common.submission.model import Accepted, Prompt

READ_CHUNK: Final = 100
"""Requests in one answer of Redis: a batch has at most 20 MB of them, as POST has taken it."""

MAX_ATTEMPTS: Final = 3
"""Attempts, where another retry of the same batch is faster."""


class RetryStore(BatchReader, Protocol):
    """Store failed tasks. Each method raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the given order, None for an unknown one; without text they are small."""

    async def load_requests(self, refs: Sequence[TaskRef]) -> list[str | None]:
        """Return what failed tasks have kept of their messages."""

    async def retry(self, batch: BatchRecord, refs: Sequence[TaskRef], batch_id: str) -> bool:
        """Take failed tasks for a new batch, each once; False where something has changed since they were read."""


class BatchSender(Protocol):
    """Record and send batches."""

    async def send(self, batch: NewBatch, prompts: Sequence[Prompt], budgets: Budgets | None = None) -> Accepted:
        """Record a batch that has a digest, and send one task for each prompt."""


class NothingToRetry(Conflict):
    """The batch has no failed task that can be retried."""

    code = "nothing_to_retry"


class RetryInUse(Conflict):
    """Another call is retrying the same batch."""

    code = "retry_in_use"
    retry_after = 2


class SkipReason(StrEnum):
    """Name why a failed task is not retried."""

    ALREADY_RETRIED = "already_retried"
    """An earlier retry has made a task of it; `retried_as` is that one."""
    REQUEST_NOT_KEPT = "request_not_kept"
    """Its record has no request: its message is still to be worked off, or the record was lost and rebuilt."""
    FAILED_SINCE = "failed_since"
    """It failed after a retry had begun that is finished first: the next call takes it."""
    MODEL_NOT_ALLOWED = "model_not_allowed"
    """The caller's key does not allow its model."""


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Hold the batch to retry, and the tenant, models and budgets of the caller."""

    tenant: str
    batch_id: str
    models: Collection[str]
    budgets: Budgets | None = None


@dataclass(frozen=True, slots=True)
class SkippedTask:
    """Hold a failed task that was not retried, and why."""

    ref: TaskRef
    reason: SkipReason
    retried_as: str | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """Hold an accepted retry: by the index of each new task the failed one, and the skipped tasks.

    A failed task that has expired since is in neither.
    """

    accepted: Accepted
    of: Mapping[int, TaskRecord]
    skipped: tuple[SkippedTask, ...]


@dataclass(frozen=True, slots=True)
class _Failed:
    """Hold a batch and its failed tasks, as read at one moment."""

    batch: BatchRecord
    records: tuple[TaskRecord, ...]

    def taken_for(self, batch_id: str | None) -> dict[int, TaskRecord]:
        """Return those that a retry has taken, by the places of its tasks."""
        marks = [((each.retried_as or "").rpartition("-"), each) for each in self.records]
        return {int(place): each for (retry, _, place), each in marks if batch_id and retry == batch_id}


class RetryService:
    """Retry for any tenant; each reaches only its own tasks."""

    def __init__(self, store: RetryStore, sender: BatchSender, *, now_ms: Callable[[], int]) -> None:
        """Create the service.

        Args:
            store: stores failed tasks.
            sender: records and sends batches.
            now_ms: a clock in milliseconds since 1970.

        """
        self._store = store
        self._sender = sender
        self._now_ms = now_ms

    async def retry(self, request: RetryRequest, key: str | None = None) -> Retried:
        """Make new tasks of those that have failed and were not retried; a repeat answers the same ones.

        An earlier retry that was not sent comes first. `key` is the caller's Idempotency-Key.

        Raises:
            NotFound, Gone: the tenant has no such batch, or has it no longer; or tasks expired before they were sent.
            NothingToRetry: no task of it has failed, or none keeps its request.
            RetryInUse: another call is retrying the batch.
            CallerError, StoreUnavailable, QueueUnavailable: as for a submission; the call can be repeated.

        """
        keyed = None if key is None else batch_id_of_key(request.tenant, f"\0retry:{request.batch_id}:{key}")
        for _ in range(MAX_ATTEMPTS):
            failed = await self._read_failed(request)
            if again := failed.taken_for(keyed):
                return await self._finish(request, failed, str(keyed), again)
            last = failed.batch.retry
            begun = failed.taken_for(last)
            earlier = await self._finish(request, failed, str(last), begun) if begun else None
            if earlier and keyed is None and not earlier.accepted.replayed:
                return earlier  # it had broken off; what has failed since is for the next call
            fresh = [each for each in failed.records if _skip_reason(each, request) is None]
            if not fresh:
                if earlier is None:
                    raise NothingToRetry(_nothing(failed))
                return earlier
            new_id = keyed or _id_of(request, fresh)
            if await self._store.retry(failed.batch, [each.ref for each in fresh], new_id):
                return await self._finish(request, failed, new_id, dict(enumerate(fresh)))
        raise RetryInUse("another call is retrying this batch; retry later")

    async def _read_failed(self, request: RetryRequest) -> _Failed:
        # The batch first: what is marked after that, the taking notices.
        batch = await find_batch(self._store, request.tenant, request.batch_id, now_ms=self._now_ms())
        records = await self._store.read(batch.refs(), with_text=False)
        return _Failed(batch, tuple(each for each in records if each and each.status is TaskStatus.FAILED))

    async def _finish(
        self, request: RetryRequest, failed: _Failed, new_id: str, taken: dict[int, TaskRecord]
    ) -> Retried:
        """Send what was taken, unless it was sent before."""
        skipped = tuple(
            SkippedTask(each.ref, _skip_reason(each, request) or SkipReason.FAILED_SINCE, each.retried_as)
            for each in failed.records
            if each not in taken.values()
        )
        made = await self._store.read_batch(request.tenant, new_id)
        if made is not None and made.is_accepted:
            return Retried(Accepted.of(made), taken, skipped)
        if taken.keys() != set(range(made.size if made else len(taken))):
            raise Gone("tasks of an earlier retry that was not sent have expired; submit their prompts again")
        old, records = failed.batch, [taken[place] for place in sorted(taken)]
        batch = NewBatch(
            tenant=request.tenant,
            batch_id=new_id,
            tasks=records,
            deadline_in_ms=old.deadline_ms - old.created_ms,
            retention_ms=old.expires_ms - old.deadline_ms,
            digest=hashlib.sha256(f"retry:{old.batch_id}".encode()).hexdigest(),
            metadata=old.metadata,
            webhook=old.webhook,
            kind=records[0].kind,
        )
        sent = await self._sender.send(batch, await self._prompts(records), request.budgets)
        return Retried(sent, taken, skipped)

    async def _prompts(self, taken: Sequence[TaskRecord]) -> list[Prompt]:
        prompts: list[Prompt] = []
        for some in batched(taken, READ_CHUNK, strict=False):
            requests = await self._store.load_requests([each.ref for each in some])
            prompts += [_prompt(record, request) for record, request in zip(some, requests, strict=True)]
        return prompts


def _skip_reason(record: TaskRecord, request: RetryRequest) -> SkipReason | None:
    """Return why a failed task cannot be retried; None if it can."""
    if record.retried_as is not None:
        return SkipReason.ALREADY_RETRIED
    if record.kept_bytes is None:
        return SkipReason.REQUEST_NOT_KEPT
    return None if public_model(record.kind, record.model) in request.models else SkipReason.MODEL_NOT_ALLOWED


def _prompt(record: TaskRecord, request: str | None) -> Prompt:
    try:
        message = TaskMessage.decode(request or "")
    except MessageError:
        # The record has gone since it was read, or is another version's.
        raise RetryInUse("a task has changed during the retry; retry later") from None
    return Prompt(request=message.request, expected_tokens=message.expected_tokens, **record.spec_fields())


def _id_of(request: RetryRequest, fresh: Sequence[TaskRecord]) -> str:
    # The same tasks make the same id, also where Redis has lost that they were taken. No caller's key holds a NUL.
    places = ",".join(str(each.ref.index) for each in fresh)
    return batch_id_of_key(request.tenant, f"\0retry:{request.batch_id}:{places}")


def _nothing(failed: _Failed) -> str:
    if not failed.records:
        return "no task of this batch has failed"
    return f"of the {len(failed.records)} failed tasks of this batch none can be retried; see their `retried_as`"
