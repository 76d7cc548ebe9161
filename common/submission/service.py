"""Accept a call: record its tasks as queued, send them to the queue, mark the batch as accepted, then respond.

The order decides what a crash leaves behind. Before the record: nothing. Before the mark: records that expire, whose
IDs no client has, and messages that cost nothing, because a worker claims no task of a batch that is not accepted.
After the mark: tasks that run.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Protocol

from common.domain.backlog import BacklogQueue
from common.domain.budgets import Budgets
from common.domain.errors import QueueUnavailable, SluiceError, StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.task import (
    BatchRecord,
    FailureCode,
    NewBatch,
    Task,
    TaskRef,
    batch_id_of_key,
    new_batch_id,
)
from common.domain.transitions import Created, CreateOutcome, EndOutcome
from common.kinds.registry import registration_of
from common.runtime.metrics import Metric
from common.submission.admission import Admission, Reservation
from common.submission.model import (
    Accepted,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotentRequest,
    Prompt,
    SubmitCall,
)


class BatchWriter(Protocol):
    """Record batches. Each method raises StoreUnavailable where Redis does not answer."""

    async def create(self, batch: NewBatch) -> Created:
        """Record a batch of queued tasks, or find the one of the same Idempotency-Key."""

    async def mark_accepted(self, tenant: str, batch_id: str, sending_until_ms: int) -> bool:
        """Mark a sent batch as accepted; False if the time to send it, which `create` returns, is over."""

    async def read_batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        """Read a batch, None for an unknown one."""

    async def mark_unsent(self, tenant: str, batch_id: str, sending_until_ms: int) -> None:
        """Mark a batch as not sent, so that a repeat of the request sends it again."""

    async def cancel(self, refs: Sequence[TaskRef], code: FailureCode | None = None) -> list[EndOutcome]:
        """Cancel tasks that have not ended, so that they cost nothing."""


class PromptQueue(Protocol):
    """Send tasks to the workers."""

    async def send(self, messages: Sequence[TaskMessage]) -> None:
        """Send all messages, or raise QueueUnavailable; some may have been sent even so."""


class SubmissionService:
    """Accept calls for any tenant."""

    def __init__(  # noqa: PLR0913  # each is a part of the service
        self,
        store: BatchWriter,
        queue: PromptQueue,
        admission: Admission,
        *,
        count: Callable[[Metric, int], object],
        warn: Callable[[str], object],
        step: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """Create the service.

        Args:
            store: records batches.
            queue: sends tasks to their workers.
            admission: refuses calls that exceed a budget or the queue's cap.
            count: counts the accepted tasks.
            warn: logs what stays inconsistent until it expires.
            step: traces a step, by its name.

        """
        self._count = count
        self._admission = admission
        self._step = step
        self._warn = warn
        self._store = store
        self._queue = queue

    async def accept(
        self, tenant: str, call: SubmitCall, repeatable: IdempotentRequest | None = None, budgets: Budgets | None = None
    ) -> Accepted:
        """Record and send one task for each prompt.

        Raises:
            IdempotencyKeyInUse, IdempotencyKeyReused: the Idempotency-Key belongs to another request.
            AdmissionRefused: a budget or the queue has no room for it; nothing was written.
            StoreUnavailable, QueueUnavailable: it was not accepted; with an Idempotency-Key it is safe to repeat.

        """
        batch = NewBatch(
            tenant=tenant,
            batch_id=batch_id_of_key(tenant, repeatable.key) if repeatable else _random_batch_id(),
            tasks=call.prompts,
            deadline_in_ms=call.deadline_seconds * 1000,
            retention_ms=call.retention_seconds * 1000,
            digest=repeatable.digest if repeatable else None,
            metadata=call.metadata,
            webhook=call.webhook,
            kind=call.prompts[0].request.kind,
        )
        return await self.send(batch, call.prompts, budgets)

    async def send(self, batch: NewBatch, prompts: Sequence[Prompt], budgets: Budgets | None = None) -> Accepted:
        """Record and send a batch; one with a digest, whose id is always the same, is recorded and sent once.

        Raises as `accept` does.
        """
        reservation = await self._admit(batch, budgets)
        try:
            accepted = await self._record_and_send(batch, prompts, budgets)
        except SluiceError as error:
            await self._return_budget(reservation)
            if isinstance(error, QueueUnavailable):
                await self._release_places(batch)
            raise
        if accepted.replayed:
            await self._return_budget(reservation)
        else:
            await self._confirm_places(batch, accepted)
            self._count(Metric.SUBMITTED, batch.size)
        return accepted

    async def _confirm_places(self, batch: NewBatch, accepted: Accepted) -> None:
        try:
            await self._admission.confirm(batch, accepted.deadline_ms)
        except StoreUnavailable:
            self._warn("A batch was accepted, and does not count in its tenant's share of the queue")

    async def _release_places(self, batch: NewBatch) -> None:
        # After any other error the batch may belong to another call, and unconfirmed places expire.
        with suppress(StoreUnavailable):
            await self._admission.release(batch)

    async def _admit(self, batch: NewBatch, budgets: Budgets | None) -> Reservation | None:
        if batch.digest is None:
            return await self._admission.admit(batch, budgets)
        # Read first: a repeat of an accepted call adds no tasks, and must not occupy budget or queue even for a moment.
        if self._admission.asks(budgets):
            known = await self._store.read_batch(batch.tenant, batch.batch_id)
            if known is not None and known.is_accepted:
                return None
        return await self._admission.admit(batch, budgets, f"{batch.batch_id}-{batch.digest}")

    async def _return_budget(self, reservation: Reservation | None) -> None:
        if reservation is None:
            return
        try:
            await self._admission.return_budget(reservation)
        except StoreUnavailable:
            self._warn("Tasks that were not accepted stay counted in their tenant's budget")

    async def _record_and_send(self, batch: NewBatch, prompts: Sequence[Prompt], budgets: Budgets | None) -> Accepted:
        refs = tuple(TaskRef(batch.tenant, batch.batch_id, index) for index in range(batch.size))
        with self._step("redis"):
            created = await self._store.create(batch)
        match created.outcome:
            case CreateOutcome.ACCEPTED:
                return _accepted(batch, refs, created, replayed=True)
            case CreateOutcome.SENDING:
                raise IdempotencyKeyInUse("another call with this Idempotency-Key is in progress; retry later")
            case CreateOutcome.CONFLICT:
                raise IdempotencyKeyReused("this Idempotency-Key was used with another request; use a new key")
            case CreateOutcome.CREATED | CreateOutcome.UNSENT:
                await self._send(batch, refs, prompts, created, budgets)
        return _accepted(batch, refs, created, replayed=False)

    async def _send(
        self,
        batch: NewBatch,
        refs: Sequence[TaskRef],
        prompts: Sequence[Prompt],
        created: Created,
        budgets: Budgets | None,
    ) -> None:
        messages = [
            self._message(batch, ref, prompt, created, budgets) for ref, prompt in zip(refs, prompts, strict=True)
        ]
        try:
            with self._step("sqs"):
                await self._queue.send(messages)
            is_accepted = await self._store.mark_accepted(batch.tenant, batch.batch_id, created.sending_until_ms)
        except (QueueUnavailable, StoreUnavailable):
            await self._roll_back(batch, refs, created)
            raise
        if not is_accepted:
            # Only a call of a frozen environment is so late. Its messages were dropped, or another call sends them.
            raise StoreUnavailable("the time to send this batch is over")

    async def _roll_back(self, batch: NewBatch, refs: Sequence[TaskRef], created: Created) -> None:
        # Messages may be on the queue. A repeat with the key sends them again; without a key no client has the IDs.
        try:
            if batch.digest is None:
                await self._store.cancel(refs, FailureCode.NOT_ACCEPTED)
            else:
                await self._store.mark_unsent(batch.tenant, batch.batch_id, created.sending_until_ms)
        except StoreUnavailable:
            self._warn("A batch that was not accepted could not be rolled back")

    def _message(
        self, batch: NewBatch, ref: TaskRef, prompt: Prompt, created: Created, budgets: Budgets | None
    ) -> TaskMessage:
        task = Task(
            ref=ref,
            batch_size=batch.size,
            created_ms=created.created_ms,
            deadline_ms=created.deadline_ms,
            retention_ms=batch.retention_ms,
            webhook=batch.webhook,
            kind=batch.kind,
            **prompt.spec_fields(),
        )
        return TaskMessage(task, prompt.request, prompt.expected_tokens, budgets)


class SubmissionRouter:
    """Route calls to the service of the queue of their kind."""

    def __init__(self, services: Mapping[BacklogQueue, SubmissionService]) -> None:
        """Create the router with the service of each queue."""
        self._services = services

    def of(self, prompts: Sequence[Prompt]) -> SubmissionService:
        """Return the service of these prompts; a batch is of one kind."""
        return self._services[registration_of(prompts[0].request.kind).queue]

    async def send(self, batch: NewBatch, prompts: Sequence[Prompt], budgets: Budgets | None = None) -> Accepted:
        """Record and send a batch, as `SubmissionService.send` does."""
        return await self.of(prompts).send(batch, prompts, budgets)


def _accepted(batch: NewBatch, refs: tuple[TaskRef, ...], created: Created, *, replayed: bool) -> Accepted:
    return Accepted(
        batch_id=batch.batch_id,
        refs=refs,
        created_ms=created.created_ms,
        deadline_ms=created.deadline_ms,
        expires_ms=created.deadline_ms + batch.retention_ms,
        replayed=replayed,
    )


def _random_batch_id() -> str:
    return new_batch_id(time.time_ns() // 1_000_000, secrets.token_bytes(16))
