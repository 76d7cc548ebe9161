"""Stand in for what Sluice talks to, in memory and with the same contract.

FakeStore is the record in plain Python: read it to learn what the Lua scripts of common/store do. The contract suite in
tests/integration/store runs against both.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from common.api.held_calls import HoldLimits
from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.errors import EventUnsent, QueueUnavailable
from common.domain.rate_limits import RefusalCause
from common.domain.spending import Charge, Spend
from common.domain.task import (
    TRUNCATED,
    Answer,
    Attempt,
    BatchRecord,
    FailureCode,
    NewBatch,
    ProviderError,
    Task,
    TaskRecord,
    TaskRef,
    TaskStatus,
    Usage,
    WaitingOn,
)
from common.domain.transitions import (
    NO_REPORT,
    CallReport,
    Claim,
    ClaimOutcome,
    Created,
    CreateOutcome,
    EndOutcome,
    Lease,
    ProgressNote,
    Release,
    ReleaseOutcome,
)
from common.store.keys import BACKLOG_GRACE_MS, BOOKED_KEPT_MS, HOLD_LEASE_MS, LATE_CLAIM_WAIT_MS, SENDING_LEASE_MS
from common.store.webhook_deliveries import EventPublisher
from common.webhooks.events import DeliveryReceipt, WebhookNotification
from common.webhooks.model import Webhook, WebhookDelivery, WebhookDeliveryStatus

SENDING_MS: Final = 10_000
"""How long who has no message of a batch leaves the sending of its event to others; as in lib/announce.lua."""


@dataclass(slots=True)
class _Record:
    task: Task
    expires_ms: int
    updated_ms: int
    status: TaskStatus = TaskStatus.QUEUED
    progress: int = 0
    owner: str | None = None  # only while it is processing
    lease_end_ms: int = 0
    past_owner: str | None = None  # the last to have released it
    attempts: list[Attempt] = field(default_factory=list)  # the last one runs while it is processing
    refusals: int = 0  # for its rate
    own_refusals: int = 0  # while other tasks were let through
    is_deleted: bool = False  # nothing reads it any more
    ended_by: str | None = None  # which call ended it, so that its repeat gets the same answer
    started_ms: int | None = None
    ended_ms: int | None = None
    partial: str | None = None
    answer: Answer | None = None
    code: FailureCode | None = None
    last_code: FailureCode | None = None
    error_type: str | None = None
    report: CallReport = NO_REPORT  # of the call that made it fail
    charged: set[str] = field(default_factory=set)  # the owners whose charges are in the batch's sums
    waiting_on: WaitingOn | None = WaitingOn.CAPACITY
    request: str | None = None
    retried_as: str | None = None


@dataclass(slots=True)
class _Batch:
    size: int
    created_ms: int
    deadline_ms: int
    expires_ms: int
    digest: str | None = None
    accepted: bool = False
    rebuilt: bool = False  # of a message: whether it was accepted is not known any more
    sending_until_ms: int = 0
    metadata: Mapping[str, str] | None = None
    usage: Usage | None = None
    cost_nanos: int | None = None
    estimated_tokens: int = 0
    estimated_nanos: int = 0
    retry: str | None = None
    webhook: Webhook | None = None
    ends: list[TaskStatus | None] = field(default_factory=list)  # of its tasks, only where it has a webhook
    due_ms: int | None = None  # when the last one ended, until its event is on the queue
    announced: bool = False
    delivery: WebhookDelivery = field(default_factory=WebhookDelivery)


class FakeStore:
    """Keep records in a dict; `now_ms` is the clock, in milliseconds since 1970."""

    def __init__(self, now_ms: Callable[[], int], *, announcer: EventPublisher | None = None) -> None:
        self._now_ms = now_ms
        self._announcer = announcer
        self._newly_due: set[tuple[str, str]] = set()  # by the call that runs
        self._records: dict[TaskRef, _Record] = {}
        self._batches: dict[tuple[str, str], _Batch] = {}
        self._spends: dict[tuple[str, str], Spend] = {}
        self._charged: dict[tuple[TaskRef, str], int] = {}  # when an attempt's charge was added to its tenant's day

    def lose(self, ref: TaskRef) -> None:
        """Forget a task's record, as Redis may in a failover."""
        self._records.pop(ref, None)

    def lose_batch(self, tenant: str, batch_id: str) -> None:
        """Forget a batch's record, as Redis may in a failover."""
        self._batches.pop((tenant, batch_id), None)

    # ─── A batch's acceptance ─────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, batch: NewBatch) -> Created:
        now = self._now_ms()
        known = self._find_batch(batch.tenant, batch.batch_id)
        may_send = True
        if known is None:
            known = _Batch(
                size=batch.size,
                created_ms=now,
                deadline_ms=now + batch.deadline_in_ms,
                expires_ms=now + batch.deadline_in_ms + batch.retention_ms,
                digest=batch.digest,
                sending_until_ms=now + SENDING_LEASE_MS,
                metadata=batch.metadata,
            )
            self._batches[batch.tenant, batch.batch_id] = known
            self._write_tasks(batch, known)
            self._write_webhook(batch.tenant, batch.batch_id, batch.webhook)
            outcome = CreateOutcome.CREATED
        elif known.size != batch.size or known.digest not in {None, batch.digest}:
            outcome, may_send = CreateOutcome.CONFLICT, False
        elif batch.digest is None:
            # Its id is random: only the same call can come with it again.
            outcome = CreateOutcome.CREATED
        elif known.accepted:
            outcome, may_send = CreateOutcome.ACCEPTED, False
        elif now < known.sending_until_ms:
            outcome, may_send = CreateOutcome.SENDING, False
        else:
            # A batch that was rebuilt from a message has no digest, and takes that of the first request with its key.
            known.digest = batch.digest
            known.metadata = batch.metadata
            known.sending_until_ms = now + SENDING_LEASE_MS
            self._write_tasks(batch, known)
            self._write_webhook(batch.tenant, batch.batch_id, batch.webhook)
            outcome = CreateOutcome.UNSENT
        self._newly_due.clear()
        return Created(outcome, known.created_ms, known.deadline_ms, known.sending_until_ms if may_send else 0)

    async def mark_accepted(self, tenant: str, batch_id: str, sending_until_ms: int) -> bool:
        batch = self._find_batch(tenant, batch_id)
        if batch is None or batch.accepted:
            return True  # a batch that is gone is rebuilt by its messages
        batch.accepted = batch.rebuilt or 0 < batch.sending_until_ms == sending_until_ms
        return batch.accepted

    async def mark_unsent(self, tenant: str, batch_id: str, sending_until_ms: int) -> None:
        batch = self._find_batch(tenant, batch_id)
        if batch and batch.sending_until_ms == sending_until_ms:
            batch.sending_until_ms = 0

    # ─── A task's work ────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, lease: Lease) -> Claim:
        claim = self._claim(lease)
        await self._announce(lease.task.ref)
        return claim

    def _claim(self, lease: Lease) -> Claim:  # noqa: PLR0911  one return for each answer reads best
        now = self._now_ms()
        ended_by = f"claim:{lease.owner}"
        record = self._find_or_rebuild(lease.task)
        if record is None:
            return Claim(ClaimOutcome.ENDED, now_ms=now)

        attempt = len(record.attempts)
        batch = self._batches[lease.task.ref.tenant, lease.task.ref.batch_id]
        if not (record.status.is_terminal or batch.accepted or batch.rebuilt):
            if now < batch.sending_until_ms:
                return Claim(ClaimOutcome.UNACCEPTED, attempt, now, wait_ms=batch.sending_until_ms - now)
            batch.sending_until_ms = 0  # given up: its call is not accepted any more, and a repeat sends it again
            return Claim(ClaimOutcome.NOT_ACCEPTED, attempt, now)

        self._apply_deadline(record, ended_by)
        if record.status.is_terminal:
            code = record.code if record.ended_by == ended_by else None
            return Claim(ClaimOutcome.ENDED, attempt, now, code=code)

        if self._is_live(record):
            if record.owner == lease.owner:
                return Claim(
                    ClaimOutcome.CLAIMED, attempt, now, refusals=record.refusals, own_refusals=record.own_refusals
                )
            return Claim(ClaimOutcome.BUSY, attempt, now, wait_ms=record.lease_end_ms - now)

        if lease.owner in {record.owner, record.past_owner}:
            # An owner is random for each claim: this is a copy of an old call, late on the wire.
            return Claim(ClaimOutcome.BUSY, attempt, now, wait_ms=LATE_CLAIM_WAIT_MS)

        self._end_lost_attempt(record)
        if attempt >= lease.max_attempts:
            if record.status is TaskStatus.PROCESSING:  # not released: its last worker has died
                record.last_code = FailureCode.WORKER_LOST
            self._finish(record, TaskStatus.FAILED, now, ended_by, code=FailureCode.ATTEMPTS_EXHAUSTED)
            return Claim(ClaimOutcome.ENDED, attempt, now, code=record.code)

        record.status = TaskStatus.PROCESSING
        record.owner, record.lease_end_ms = lease.owner, now + lease.lease_ms
        record.attempts.append(Attempt(now))
        record.started_ms = record.started_ms or now
        record.progress, record.partial, record.waiting_on = 0, None, None
        record.updated_ms = now
        return Claim(ClaimOutcome.CLAIMED, attempt + 1, now, refusals=record.refusals, own_refusals=record.own_refusals)

    async def release(self, lease: Lease, release: Release) -> ReleaseOutcome:
        outcome = self._release(lease, release)
        await self._announce(lease.task.ref)
        return outcome

    def _release(self, lease: Lease, release: Release) -> ReleaseOutcome:
        now = self._now_ms()
        ended_by = f"release:{lease.owner}"
        record = self._find(lease.task.ref)
        if record is None:
            return ReleaseOutcome.LOST
        if record.ended_by == ended_by:
            return ReleaseOutcome.EXHAUSTED
        if record.past_owner == lease.owner:
            return ReleaseOutcome.RELEASED
        if record.owner != lease.owner:
            return ReleaseOutcome.LOST

        record.last_code = release.code or record.last_code
        if not release.refund and len(record.attempts) >= lease.max_attempts:
            self._end_attempt(record, now, release.code, release.report.error)
            self._finish(record, TaskStatus.FAILED, now, ended_by, code=FailureCode.ATTEMPTS_EXHAUSTED)
            return ReleaseOutcome.EXHAUSTED

        record.status = TaskStatus.QUEUED
        record.owner, record.past_owner = None, lease.owner
        record.refusals += release.refused_by is not None
        record.own_refusals += release.refused_by is RefusalCause.TASK
        if release.refund:
            record.attempts.pop()
        else:
            self._end_attempt(record, now, release.code, release.report.error)
        record.progress, record.partial, record.waiting_on = 0, None, release.waiting_on
        record.updated_ms = now
        return ReleaseOutcome.RELEASED

    async def mark_waiting(self, refs: Sequence[TaskRef], waiting_on: WaitingOn) -> None:
        for ref in refs:
            record = self._find(ref)
            if record and record.status is TaskStatus.QUEUED:
                record.waiting_on = waiting_on

    async def progress(self, notes: Sequence[ProgressNote]) -> list[bool]:
        return [self._note(note) for note in notes]

    def _note(self, note: ProgressNote) -> bool:
        record = self._find(note.ref)
        if record is None:
            return True  # nobody took it: the answer will rebuild it
        if record.owner != note.owner:
            return False
        record.lease_end_ms = self._now_ms() + note.lease_ms
        if note.partial is None:
            return True
        record.progress = max(record.progress, min(note.percent, 99))
        record.partial = note.partial
        record.updated_ms = self._now_ms()
        return True

    # ─── A task's end ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def complete(self, lease: Lease, answer: Answer, charge: Charge | None = None) -> EndOutcome:
        outcome = self._complete(lease, answer, charge or Charge.billed(answer.usage, answer.cost_nanos))
        await self._announce(lease.task.ref)
        return outcome

    def _complete(self, lease: Lease, answer: Answer, charge: Charge) -> EndOutcome:
        ended_by = f"complete:{lease.owner}"
        record = self._find_or_rebuild(lease.task)
        if record is None:
            return EndOutcome.ALREADY
        if record.ended_by == ended_by:
            return EndOutcome.ENDED
        if record.status.is_terminal:
            return EndOutcome.ALREADY

        now = self._now_ms()
        if not record.attempts:  # an answer has cost an attempt, also where its beginning was lost
            record.attempts.append(Attempt(now))
        self._finish(record, TaskStatus.COMPLETED, now, ended_by)
        record.answer, record.progress = answer, 100
        self._sum_up_in_batch(lease.task.ref, charge)
        self._sum_up_in_day(lease.task.ref.tenant, charge, tasks=1)
        return EndOutcome.ENDED

    async def charge(self, lease: Lease, charge: Charge) -> None:
        ref, owner, now = lease.task.ref, lease.owner, self._now_ms()
        record = self._find(ref)
        if record and owner not in record.charged and self._find_batch(ref.tenant, ref.batch_id):
            record.charged.add(owner)
            self._sum_up_in_batch(ref, charge)
        booked_ms = self._charged.get((ref, owner))
        if booked_ms is None or now >= booked_ms + BOOKED_KEPT_MS:
            self._charged[ref, owner] = now
            self._sum_up_in_day(ref.tenant, charge)

    def _sum_up_in_batch(self, ref: TaskRef, charge: Charge) -> None:
        batch = self._batches[ref.tenant, ref.batch_id]
        if charge.usage is not None:
            batch.usage = _sum(batch.usage, charge.usage)
        if charge.cost_nanos is not None:
            batch.cost_nanos = (batch.cost_nanos or 0) + charge.cost_nanos
        batch.estimated_tokens += charge.estimated_tokens
        batch.estimated_nanos += charge.estimated_nanos

    def _sum_up_in_day(self, tenant: str, charge: Charge, tasks: int = 0) -> None:
        day = datetime.fromtimestamp(self._now_ms() // 1000, UTC).date().isoformat()
        spent = self._spends.get((tenant, day), Spend())
        tokens = _sum(
            Usage(spent.prompt_tokens, spent.completion_tokens, spent.total_tokens, spent.cached_tokens), charge.usage
        )
        self._spends[tenant, day] = Spend(
            tasks=spent.tasks + tasks,
            **asdict(tokens),
            cost_nanos=spent.cost_nanos + (charge.cost_nanos or 0),
            unpriced=spent.unpriced + charge.unpriced,
            estimated_tokens=spent.estimated_tokens + charge.estimated_tokens,
            estimated_nanos=spent.estimated_nanos + charge.estimated_nanos,
        )

    async def spend(self, tenant: str, day: str) -> Spend:
        return self._spends.get((tenant, day), Spend())

    async def fail(
        self,
        lease: Lease,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> EndOutcome:
        outcome = self._fail(lease, code, last_code, error_type, report)
        await self._announce(lease.task.ref)
        return outcome

    def _fail(
        self,
        lease: Lease,
        code: FailureCode,
        last_code: FailureCode | None,
        error_type: str | None,
        report: CallReport,
    ) -> EndOutcome:
        ended_by = f"fail:{lease.owner}"
        was_lost = self._find(lease.task.ref) is None
        record = self._find_or_rebuild(lease.task)
        if record is None:
            return EndOutcome.ALREADY
        if record.ended_by == ended_by:
            return EndOutcome.ENDED
        if record.status.is_terminal:
            return EndOutcome.ALREADY
        if not was_lost and record.owner != lease.owner:
            return EndOutcome.LOST

        now = self._now_ms()
        record.last_code = last_code or record.last_code
        record.error_type, record.report = error_type, report
        self._end_attempt(record, now, last_code or code, report.error)
        self._finish(record, TaskStatus.FAILED, now, ended_by, code=code)
        record.partial = report.text
        return EndOutcome.ENDED

    async def dead_letter(self, task: Task, code: FailureCode = FailureCode.DEAD_LETTER) -> EndOutcome:
        outcome = self._bury(task, code)
        await self._announce(task.ref)
        return outcome

    def _bury(self, task: Task, code: FailureCode) -> EndOutcome:
        record = self._find_or_rebuild(task)
        if record is None:
            return EndOutcome.ALREADY
        self._apply_deadline(record, "deadline")
        if record.ended_by == "dead_letter":
            return EndOutcome.ENDED
        if record.status.is_terminal:
            return EndOutcome.ALREADY
        if self._is_live(record):
            return EndOutcome.LOST

        self._end_lost_attempt(record)
        self._finish(record, TaskStatus.FAILED, self._now_ms(), "dead_letter", code=code)
        return EndOutcome.ENDED

    async def cancel(self, refs: Sequence[TaskRef], code: FailureCode | None = None) -> list[EndOutcome]:
        if code is not None:  # the call was not accepted: nobody has its ids, so nobody is told
            for batch in filter(None, (self._find_batch(ref.tenant, ref.batch_id) for ref in refs)):
                batch.webhook, batch.ends, batch.due_ms = None, [], None
        outcomes = [self._cancel(ref, code) for ref in refs]
        await self._announce(*refs, may_leave_to_sender=True)
        return outcomes

    def _cancel(self, ref: TaskRef, code: FailureCode | None) -> EndOutcome:
        record = self._find(ref)
        if record is None:
            return EndOutcome.MISSING
        self._apply_deadline(record, "deadline")
        if record.status is TaskStatus.CANCELLED:
            return EndOutcome.ENDED
        if record.status.is_terminal:
            return EndOutcome.ALREADY
        self._end_lost_attempt(record)
        self._finish(record, TaskStatus.CANCELLED, self._now_ms(), "cancel", code=code)
        return EndOutcome.ENDED

    # ─── A failed task's second life ──────────────────────────────────────────────────────────────────────────────────

    async def save_request(self, ref: TaskRef, request: str) -> None:
        record = self._find(ref)
        if record and record.status is TaskStatus.FAILED:
            record.request = request

    async def load_requests(self, refs: Sequence[TaskRef]) -> list[str | None]:
        return [record.request if (record := self._find(ref)) else None for ref in refs]

    async def retry(self, batch: BatchRecord, refs: Sequence[TaskRef], batch_id: str) -> bool:
        found = self._find_batch(batch.tenant, batch.batch_id)
        if found is None:
            return False
        if found.retry == batch_id:
            return True
        records = [record for ref in refs if (record := self._find(ref))]
        if found.retry != batch.retry or len(records) < len(refs):
            return False
        if any(each.status is not TaskStatus.FAILED or not each.request or each.retried_as for each in records):
            return False
        for place, record in enumerate(records):
            record.retried_as = f"{batch_id}-{place}"
        found.retry = batch_id
        return True

    # ─── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        found = [self._read(ref, with_text=with_text) for ref in refs]
        await self._announce(*refs, may_leave_to_sender=True)
        return found

    async def delete(self, refs: Sequence[TaskRef]) -> None:
        await self.cancel(refs)
        for record in filter(None, map(self._find, refs)):
            record.is_deleted = True

    def _read(self, ref: TaskRef, *, with_text: bool) -> TaskRecord | None:
        record = self._find(ref)
        if record is None or record.is_deleted:
            return None
        self._apply_deadline(record, "deadline")
        return TaskRecord(
            ref=ref,
            status=record.status,
            progress=record.progress,
            attempts=tuple(record.attempts),
            created_ms=record.task.created_ms,
            deadline_ms=record.task.deadline_ms,
            expires_ms=record.expires_ms,
            kind=record.task.kind,
            **record.task.spec_fields(),
            started_ms=record.started_ms,
            updated_ms=record.updated_ms,
            ended_ms=record.ended_ms,
            partial=record.partial if with_text else None,
            answer=record.answer if with_text else None,
            code=record.code,
            last_code=record.last_code,
            error_type=record.error_type,
            failed_usage=record.report.usage if with_text else None,
            failed_cost_nanos=record.report.cost_nanos if with_text else None,
            waiting_on=record.waiting_on,
            kept_bytes=None if record.request is None else len(record.request.encode()),
            retried_as=record.retried_as,
        )

    async def read_batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        batch = self._find_batch(tenant, batch_id)
        if batch is None:
            return None
        return BatchRecord(
            tenant=tenant,
            batch_id=batch_id,
            size=batch.size,
            created_ms=batch.created_ms,
            deadline_ms=batch.deadline_ms,
            expires_ms=batch.expires_ms,
            metadata=batch.metadata,
            usage=batch.usage,
            cost_nanos=batch.cost_nanos,
            estimated_tokens=batch.estimated_tokens,
            estimated_nanos=batch.estimated_nanos,
            is_accepted=batch.accepted,
            retry=batch.retry,
            webhook=batch.webhook,
            delivery=batch.delivery,
        )

    # ─── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def record_receipt(self, receipt: DeliveryReceipt) -> None:
        batch = self._find_batch(receipt.tenant, receipt.batch_id)
        if batch is None or batch.webhook is None or batch.delivery.status is WebhookDeliveryStatus.DELIVERED:
            return
        told = receipt.delivery
        if told.status is WebhookDeliveryStatus.FAILED and not told.attempts:
            told = replace(told, attempts=batch.delivery.attempts)
            is_news = batch.delivery.status is WebhookDeliveryStatus.PENDING
        else:
            is_news = told.attempts > batch.delivery.attempts and batch.delivery.status is WebhookDeliveryStatus.PENDING
        if is_news or told.status is WebhookDeliveryStatus.DELIVERED:
            batch.delivery = told

    async def _announce(self, *refs: TaskRef, may_leave_to_sender: bool = False) -> None:
        """Announce what is due in the batches of these tasks; a caller without a message may leave it to the sender."""
        newly, self._newly_due = self._newly_due, set()
        for key in dict.fromkeys((ref.tenant, ref.batch_id) for ref in refs):
            batch = self._find_batch(*key)
            if self._announcer is None or batch is None or batch.due_ms is None or batch.webhook is None:
                continue
            if may_leave_to_sender and key not in newly and self._now_ms() < batch.due_ms + SENDING_MS:
                continue
            ends = [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED]
            counts = {status.value: batch.ends.count(status) for status in ends}
            try:
                found = [self._find(TaskRef(*key, index)) for index in range(batch.size)]
                is_truncated = any(
                    record and record.answer and record.answer.finish_reason == TRUNCATED for record in found
                )
                event = batch.webhook.event_of(counts, is_truncated=is_truncated)
                await self._announcer.publish(WebhookNotification(*key, batch.webhook.url, batch.due_ms, counts, event))
            except QueueUnavailable:
                if may_leave_to_sender:
                    continue
                raise EventUnsent from None
            batch.due_ms, batch.announced = None, True

    def _write_webhook(self, tenant: str, batch_id: str, webhook: Webhook | None) -> None:
        batch = self._batches[tenant, batch_id]
        if webhook is None or batch.webhook is not None:
            return
        found = [self._find(TaskRef(tenant, batch_id, index)) for index in range(batch.size)]
        batch.webhook = webhook
        batch.ends = [record.status if record and record.status.is_terminal else None for record in found]
        self._settle(tenant, batch_id)

    def _settle(self, tenant: str, batch_id: str) -> None:
        batch = self._batches[tenant, batch_id]
        if None not in batch.ends and not batch.announced and batch.due_ms is None:
            batch.due_ms = self._now_ms()
            self._newly_due.add((tenant, batch_id))

    # ─── What the transitions share ───────────────────────────────────────────────────────────────────────────────────

    def _find(self, ref: TaskRef) -> _Record | None:
        record = self._records.get(ref)
        return record if record and self._now_ms() < record.expires_ms else None

    def _find_batch(self, tenant: str, batch_id: str) -> _Batch | None:
        batch = self._batches.get((tenant, batch_id))
        return batch if batch and self._now_ms() < batch.expires_ms else None

    def _find_or_rebuild(self, task: Task) -> _Record | None:
        """Rebuild a lost record, and its batch's, from the message; None where it has had its time."""
        now, gone_ms = self._now_ms(), task.deadline_ms + task.retention_ms
        record = self._find(task.ref)
        if record is None and now >= gone_ms:
            return None
        if self._find_batch(task.ref.tenant, task.ref.batch_id) is None:
            batch = _Batch(task.batch_size, task.created_ms, task.deadline_ms, gone_ms, rebuilt=True)
            self._batches[task.ref.tenant, task.ref.batch_id] = batch
            self._write_webhook(task.ref.tenant, task.ref.batch_id, task.webhook)
        if record is None:
            record = self._records[task.ref] = _Record(task, expires_ms=gone_ms, updated_ms=now)
        return record

    def _write_tasks(self, batch: NewBatch, known: _Batch) -> None:
        """Write those records of a batch that are not there."""
        for index, spec in enumerate(batch.tasks):
            ref = TaskRef(batch.tenant, batch.batch_id, index)
            if self._find(ref) is None:
                task = Task(
                    ref=ref,
                    batch_size=batch.size,
                    created_ms=known.created_ms,
                    deadline_ms=known.deadline_ms,
                    retention_ms=batch.retention_ms,
                    kind=batch.kind,
                    **spec.spec_fields(),
                )
                self._records[ref] = _Record(
                    task, expires_ms=task.deadline_ms + task.retention_ms, updated_ms=self._now_ms()
                )

    def _is_live(self, record: _Record) -> bool:
        return record.status is TaskStatus.PROCESSING and self._now_ms() < record.lease_end_ms

    def _apply_deadline(self, record: _Record, ended_by: str) -> None:
        """Fail a task that has not ended by its deadline, as of then."""
        at = record.task.deadline_ms
        if not record.status.is_terminal and self._now_ms() >= at:
            self._end_lost_attempt(record)
            self._finish(record, TaskStatus.FAILED, at, ended_by, code=FailureCode.DEADLINE_EXCEEDED)

    def _end_lost_attempt(self, record: _Record) -> None:
        """End the attempt of a worker that died, as of the end of its lease."""
        if record.status is TaskStatus.PROCESSING and not self._is_live(record):
            at = min(record.lease_end_ms, record.task.deadline_ms)
            self._end_attempt(record, at, FailureCode.WORKER_LOST)

    def _end_attempt(
        self, record: _Record, at_ms: int, code: FailureCode | None, error: ProviderError | None = None
    ) -> None:
        if record.attempts and record.attempts[-1].ended_ms is None:
            record.attempts[-1] = replace(record.attempts[-1], ended_ms=at_ms, code=code, provider_error=error)

    def _finish(
        self, record: _Record, status: TaskStatus, at_ms: int, ended_by: str, code: FailureCode | None = None
    ) -> None:
        is_cancelled = status is TaskStatus.CANCELLED
        self._end_attempt(record, at_ms, code or (FailureCode.CANCELLED if is_cancelled else None))
        record.status, record.code, record.ended_by = status, code, ended_by
        record.ended_ms = record.updated_ms = at_ms
        record.expires_ms = at_ms + record.task.retention_ms
        record.owner = record.partial = record.waiting_on = None
        ref = record.task.ref
        batch = self._find_batch(ref.tenant, ref.batch_id)
        if batch and batch.webhook:
            batch.ends[ref.index] = status
            self._settle(ref.tenant, ref.batch_id)


def _sum(one: Usage | None, other: Usage | None) -> Usage:
    return Usage(*map(sum, zip(astuple(one or Usage(0, 0, 0)), astuple(other or Usage(0, 0, 0)), strict=True)))


class FakeHeldCalls:
    """Count held calls in memory; `now_ms` is the clock, in milliseconds since 1970."""

    def __init__(self, now_ms: Callable[[], int], limits: HoldLimits = HoldLimits()) -> None:  # noqa: B008  # frozen
        self._now_ms = now_ms
        self._limits = limits
        self._lease_ends: defaultdict[str, dict[object, int]] = defaultdict(dict)

    @asynccontextmanager
    async def holding(self, tenant: str) -> AsyncGenerator[bool]:
        limits = {f"tenant/{tenant}": self._limits.tenant, "all": self._limits.total}
        counted = [scope for scope, most in limits.items() if most]
        is_held = all(self._count(scope) < limits[scope] for scope in counted)
        call = object()
        if is_held:
            for scope in counted:
                self._lease_ends[scope][call] = self._now_ms() + HOLD_LEASE_MS
        try:
            yield is_held
        finally:
            for scope in counted:
                self._lease_ends[scope].pop(call, None)

    def _count(self, scope: str) -> int:
        return sum(self._now_ms() < lease_end for lease_end in self._lease_ends[scope].values())


class FakeBacklog:
    """Count each tenant's tasks in a queue, in memory; `now_ms` is the clock, in milliseconds since 1970."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._places: defaultdict[tuple[str, BacklogQueue], dict[TaskRef, int]] = defaultdict(dict)

    def held(self, tenant: str, queue: BacklogQueue = BacklogQueue.TASKS) -> list[TaskRef]:
        """Return the tasks that have a place."""
        return [ref for ref, expiry in self._places[tenant, queue].items() if self._now_ms() < expiry]

    async def reserve(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, limit: QueueLimit) -> int:
        held = self.held(tenant, queue)
        if TaskRef(tenant, batch_id, 0) in held:
            return 0
        own, free = len(held) + size, limit.cap - max(limit.depth, len(held)) - size
        excess = -((free * limit.share - own * (100 - limit.share)) // 100)
        if excess > 0:
            return excess
        places = {TaskRef(tenant, batch_id, index): self._now_ms() + SENDING_LEASE_MS for index in range(size)}
        self._places[tenant, queue] = places | {ref: self._places[tenant, queue][ref] for ref in held}
        return 0

    async def confirm(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, deadline_ms: int) -> None:
        for ref in self.held(tenant, queue):
            if ref.batch_id == batch_id and ref.index < size:
                self._places[tenant, queue][ref] = deadline_ms + BACKLOG_GRACE_MS

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        for ref in refs:
            self._places[ref.tenant, queue].pop(ref, None)
