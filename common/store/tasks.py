"""Hold the tasks' records in Redis; what each transition means is said in the scripts and in tests/fakes.py."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from common.domain.errors import StoreUnavailable
from common.domain.rate_limits import RefusalCause
from common.domain.spending import Charge, Spend
from common.domain.task import Answer, BatchRecord, FailureCode, NewBatch, Task, TaskRecord, TaskRef, WaitingOn
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
    ReleaseOutcome,
)
from common.store import codec, keys
from common.store.chunks import by_batch, in_order
from common.store.client import Client, redis_errors
from common.store.scripts import Argument, ScriptCall, Scripts, read_sources
from common.store.spending import Spending
from common.store.webhook_deliveries import EventPublisher, WebhookDeliveryStore


class TaskStore:
    """Keep one record per task, one script per transition, timed by the server's clock.

    Whatever ends the last task of a batch with a webhook, here or in a call that died before it could say so, has that
    announced before its method returns. Where it cannot be, those methods after which a task's message is acknowledged
    raise EventUnsent, a StoreUnavailable: the message has to come back, for it brings the event again.

    Every method raises StoreUnavailable when Redis does not answer or refuses; whether the call was applied is then
    not known. Each is safe to repeat.
    """

    def __init__(
        self, client: Client, scripts: Scripts | None = None, *, announcer: EventPublisher | None = None
    ) -> None:
        """Take an open client, which the caller closes, and who announces; without, events stay due.

        Tests hand in scripts with a clock of their own.
        """
        self._client = client
        self._scripts = scripts or Scripts(read_sources())
        self._spending = Spending(client, self._scripts)
        self._deliveries = WebhookDeliveryStore(client, self._scripts, announcer)

    async def create(self, batch: NewBatch) -> Created:
        """Record a batch and its queued tasks in one round trip, all or nothing."""
        refs = [TaskRef(batch.tenant, batch.batch_id, index) for index in range(batch.size)]
        # redis-py may send a call twice: the nonce tells its repeat from another request under the same key.
        nonce = secrets.token_hex(16)
        call = ScriptCall(
            "create",
            [keys.batch_key(batch.tenant, batch.batch_id), *map(keys.task_key, refs)],
            [
                codec.write_optional(batch.digest),
                nonce,
                batch.deadline_in_ms,
                batch.retention_ms,
                keys.SENDING_LEASE_MS,
                codec.write_metadata(batch.metadata),
                codec.write_webhook(batch.webhook),
                batch.kind,
                *_names(batch),
            ],
        )
        with redis_errors():
            outcome, *times = await self._scripts.run(self._client, call)
        return Created(CreateOutcome(codec.read_text(outcome)), *times)

    async def mark_accepted(self, tenant: str, batch_id: str, sending_until_ms: int) -> bool:
        """Accept a batch whose messages were all sent: from now on its tasks may be claimed.

        False where the sending lease of this call has ended, and others have given the batch up or taken it over. A
        batch that Redis has lost stays unknown and counts as accepted.
        """
        call = ScriptCall("mark_accepted", [keys.batch_key(tenant, batch_id)], [sending_until_ms])
        with redis_errors():
            return int(await self._scripts.run(self._client, call)) == 1

    async def mark_unsent(self, tenant: str, batch_id: str, sending_until_ms: int) -> None:
        """Give up sending a batch, so that a repeat of its request sends it at once."""
        call = ScriptCall("mark_unsent", [keys.batch_key(tenant, batch_id)], [sending_until_ms])
        with redis_errors():
            await self._scripts.run(self._client, call)

    async def claim(self, lease: Lease) -> Claim:
        """Take the lease of a task; a record that Redis has lost is rebuilt first."""
        args: list[Argument] = [lease.owner, lease.lease_ms, lease.max_attempts, keys.LATE_CLAIM_WAIT_MS]
        outcome, attempt, now_ms, wait_ms, code, *refusals = await self._rebuild_and_run("claim", lease.task, args)
        return Claim(
            ClaimOutcome(codec.read_text(outcome)),
            attempt,
            now_ms,
            wait_ms,
            FailureCode(codec.read_text(code)) if code else None,
            *refusals,
        )

    async def release(  # noqa: PLR0913  # each by name
        self,
        lease: Lease,
        *,
        refund: bool,
        code: FailureCode | None,
        waiting_on: WaitingOn,
        refused_by: RefusalCause | None = None,
        report: CallReport = NO_REPORT,
    ) -> ReleaseOutcome:
        """Give a task back to the queue; with a refund the attempt is not counted, and a refusal is counted apart."""
        args: list[Argument] = [
            lease.owner,
            int(refund),
            codec.write_optional(code),
            waiting_on,
            lease.max_attempts,
            codec.write_optional(refused_by),
            codec.write_provider_error(report.error),
        ]
        call = ScriptCall("release", _keys_of(lease.task.ref), args)
        return ReleaseOutcome(codec.read_text(await self._transition(lease.task.ref, call)))

    async def mark_waiting(self, refs: Sequence[TaskRef], waiting_on: WaitingOn) -> None:
        """Note what queued tasks wait for, in one pipeline; tasks in any other state are left alone."""
        calls = [ScriptCall("mark_waiting", [keys.task_key(ref)], [waiting_on]) for ref in refs]
        with redis_errors():
            await self._scripts.run_many(self._client, calls)

    async def complete(self, lease: Lease, answer: Answer, charge: Charge | None = None) -> EndOutcome:
        """Write the answer; the first result wins, also when its lease is over or its record was lost.

        The batch's sums are written with it, the tenant's of the day right after it, on another slot. What is added to
        them is the charge, or without one what the answer says that it has cost. A task that had ended adds nothing.
        """
        if charge is None:
            charge = Charge.billed(answer.usage, answer.cost_nanos)
        args: list[Argument] = [
            lease.owner,
            codec.write_text(answer.text),
            codec.write_optional(answer.finish_reason),
            codec.write_usage(answer.usage),
            codec.write_response(lease.task.kind, answer),
            codec.write_optional(_digits(answer.cost_nanos)),
            codec.write_charge(charge),
        ]
        ref = lease.task.ref
        (text, now_ms), due = await self._unannounced(_rebuilding("complete", lease.task, args))
        outcome = EndOutcome(codec.read_text(text))
        # Booked first: an end that cannot be announced is announced by the next delivery, which has no answer to book.
        if outcome is EndOutcome.ENDED:
            await self._spending.book(keys.booked_key(ref), ref.tenant, charge, now_ms, tasks=1)
        await self._deliveries.publish(ref.tenant, ref.batch_id, due)
        return outcome

    async def charge(self, lease: Lease, charge: Charge) -> None:
        """Add what an attempt has cost that brought no answer to the sums of its batch and of its tenant's day, once.

        It needs no lease: what was paid is booked, whoever has the task by now.
        """
        ref = lease.task.ref
        with redis_errors():
            call = ScriptCall("charge", _keys_of(ref), [lease.owner, codec.write_charge(charge)])
            now_ms = await self._scripts.run(self._client, call)
        await self._spending.book(keys.charged_key(ref, lease.owner), ref.tenant, charge, now_ms)

    async def fail(
        self,
        lease: Lease,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> EndOutcome:
        """Fail a task for good; only its owner may, or anybody whose record was lost."""
        args: list[Argument] = [
            lease.owner,
            code,
            codec.write_optional(last_code),
            codec.write_optional(error_type),
            codec.write_usage(report.usage),
            codec.write_optional(_digits(report.cost_nanos)),
            codec.write_provider_error(report.error),
            codec.write_optional(report.text),
        ]
        return await self._end("fail", lease.task, args)

    async def dead_letter(self, task: Task, code: FailureCode = FailureCode.DEAD_LETTER) -> EndOutcome:
        """Fail a task that the queue has given up, unless its lease is live."""
        return await self._end("dead_letter", task, [code])

    async def save_request(self, ref: TaskRef, request: str) -> None:
        """Leave its request, the body of its message, with a failed task; any other task is left alone."""
        with redis_errors():
            await self._scripts.run(
                self._client, ScriptCall("save_request", [keys.task_key(ref)], [codec.write_text(request)])
            )

    async def load_requests(self, refs: Sequence[TaskRef]) -> list[str | None]:
        """Return what failed tasks have kept, in the order asked; the caller bounds the bytes, by `kept_bytes`."""
        values = await self._run_on_tasks("load_requests", refs, [()] * len(refs), keys.READ_CHUNK)
        return [None if value is None else codec.read_text(value) for value in values]

    async def retry(self, batch: BatchRecord, refs: Sequence[TaskRef], batch_id: str) -> bool:
        """Take failed tasks of a batch, which keep their requests, for the new batch of this id; each once.

        False where the batch or a task has changed since they were read: then nothing is taken.
        """
        call = ScriptCall(
            "retry",
            [keys.batch_key(batch.tenant, batch.batch_id), *map(keys.task_key, refs)],
            [codec.write_optional(batch.retry), batch_id],
        )
        with redis_errors():
            return int(await self._scripts.run(self._client, call)) == 1

    async def progress(self, notes: Sequence[ProgressNote]) -> list[bool]:
        """Write how far answers are, in one pipeline; False means that somebody else ended or took the task.

        Each note renews its lease; one without text does nothing else.

        A record that Redis has lost is True and stays lost: nobody took it, and the answer will rebuild it.
        """
        args = [(note.owner, note.percent, codec.write_optional(note.partial), note.lease_ms) for note in notes]
        answers = await self._run_on_tasks("progress", [note.ref for note in notes], args, keys.PROGRESS_CHUNK)
        return [answer == 1 for answer in answers]

    async def cancel(self, refs: Sequence[TaskRef], code: FailureCode | None = None) -> list[EndOutcome]:
        """Cancel tasks that have not ended; the outcomes come in the order of the refs."""
        outcomes = await self._transitions("cancel", refs, [codec.write_optional(code)], keys.CANCEL_CHUNK)
        return [EndOutcome(codec.read_text(outcome)) for outcome in outcomes]

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read records of any batches in the order asked, None for an unknown one; a task past its deadline fails now.

        Without text the records come with neither answer nor partial text: enough to count.
        """
        names = codec.field_names(with_text=with_text)
        answers = await self._transitions("read", refs, names, keys.READ_CHUNK)
        return [
            None if values is None else codec.read_record(ref, values)
            for ref, values in zip(refs, answers, strict=True)
        ]

    async def read_batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        """Read a batch's record, None for an unknown one."""
        with redis_errors():
            values = await self._scripts.run(
                self._client, ScriptCall("read_batch", [keys.batch_key(tenant, batch_id)], [])
            )
        return None if values is None else codec.read_batch(tenant, batch_id, values)

    async def spend(self, tenant: str, day: str) -> Spend:
        """Return what a tenant has spent on a day, `yyyy-mm-dd` in UTC."""
        return await self._spending.read(tenant, day)

    async def _end(self, script: str, task: Task, args: Sequence[Argument]) -> EndOutcome:
        return EndOutcome(codec.read_text(await self._rebuild_and_run(script, task, args)))

    async def _rebuild_and_run(self, script: str, task: Task, args: Sequence[Argument]) -> Any:  # noqa: ANN401  as run's
        """Make a transition that first rebuilds what Redis has lost."""
        return await self._transition(task.ref, _rebuilding(script, task, args))

    async def _transition(self, ref: TaskRef, call: ScriptCall) -> Any:  # noqa: ANN401  as run's
        answer, due = await self._unannounced(call)
        await self._deliveries.publish(ref.tenant, ref.batch_id, due)
        return answer

    async def _unannounced(self, call: ScriptCall) -> tuple[Any, Any]:
        """Make a transition and return its answer, and what is to be announced, if anything."""
        with redis_errors():
            answer, *due = await self._scripts.run(self._client, call)
        return answer, due[0] if due else None

    async def _transitions(
        self, script: str, refs: Sequence[TaskRef], args: Sequence[Argument], chunk: int
    ) -> list[Any]:
        """Make transitions for who has none of the tasks' messages: those bring what cannot be announced now."""
        chunks = list(by_batch(refs, chunk))
        calls = [
            ScriptCall(script, [*(keys.task_key(refs[place]) for place in places), _batch_of(refs[places[0]])], args)
            for places in chunks
        ]
        with redis_errors():
            answers = await self._scripts.run_many(self._client, calls)
        for places, (_, *due) in zip(chunks, answers, strict=True):
            ref = refs[places[0]]
            with suppress(StoreUnavailable):
                await self._deliveries.publish(ref.tenant, ref.batch_id, *due)
        return in_order(chunks, [answer for answer, *_ in answers])

    async def _run_on_tasks(
        self, script: str, refs: Sequence[TaskRef], args_of: Sequence[Sequence[Argument]], chunk: int
    ) -> list[Any]:
        """Run a script over tasks of any batches, with the arguments of each, and return its answers in their order.

        It takes one pipeline.
        """
        chunks = list(by_batch(refs, chunk))
        calls = [
            ScriptCall(
                script,
                [keys.task_key(refs[place]) for place in places],
                [argument for place in places for argument in args_of[place]],
            )
            for places in chunks
        ]
        with redis_errors():
            answers = await self._scripts.run_many(self._client, calls)
        return in_order(chunks, answers)


def _rebuilding(script: str, task: Task, args: Sequence[Argument]) -> ScriptCall:
    return ScriptCall(
        script, _keys_of(task.ref), [*codec.write_task(task), *args, task.kind, codec.write_webhook(task.webhook)]
    )


def _digits(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _names(batch: NewBatch) -> Iterator[bytes]:
    for model, custom_id in zip(batch.model_of, batch.custom_id_of, strict=True):
        yield codec.write_text(model)
        yield codec.write_optional(custom_id)


def _keys_of(ref: TaskRef) -> list[str]:
    return [keys.task_key(ref), _batch_of(ref)]


def _batch_of(ref: TaskRef) -> str:
    return keys.batch_key(ref.tenant, ref.batch_id)
