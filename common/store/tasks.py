"""Hold the tasks' records in Redis; what each transition means is said in the scripts and in tests/fakes.py."""

import secrets
from collections.abc import Sequence

from common.domain import task_header
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
    Release,
    ReleaseOutcome,
)
from common.store import codec, keys
from common.store.client import Client
from common.store.scripts import Arguments, ScriptCall, Scripts, named, read_sources
from common.store.spending import Spending
from common.store.task_scripts import TaskScripts, task_and_batch_keys
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
        scripts = scripts or Scripts(read_sources())
        self._spending = Spending(client, scripts)
        self._deliveries = WebhookDeliveryStore(client, scripts, announcer)
        self._scripts = TaskScripts(client, scripts, self._deliveries)

    async def create(self, batch: NewBatch) -> Created:
        """Record a batch and its queued tasks in one round trip, all or nothing."""
        refs = [TaskRef(batch.tenant, batch.batch_id, index) for index in range(batch.size)]
        # redis-py may send a call twice: the nonce tells its repeat from another request under the same key.
        nonce = secrets.token_hex(16)
        common, items = task_header.encode_new(batch)
        call = ScriptCall(
            "create",
            [keys.batch_key(batch.tenant, batch.batch_id), *map(keys.task_key, refs)],
            {
                "nonce": nonce,
                "digest": batch.digest,
                "deadline_in_ms": batch.deadline_in_ms,
                "sending_lease_ms": keys.SENDING_LEASE_MS,
                "metadata": codec.write_metadata(batch.metadata),
                **common,
            },
            items,
        )
        answer = named(await self._scripts.command(call))
        outcome = CreateOutcome(codec.read_text(answer.pop("outcome")))
        return Created(outcome, **answer)

    async def mark_accepted(self, tenant: str, batch_id: str, sending_until_ms: int) -> bool:
        """Accept a batch whose messages were all sent: from now on its tasks may be claimed.

        False where the sending lease of this call has ended, and others have given the batch up or taken it over. A
        batch that Redis has lost stays unknown and counts as accepted.
        """
        call = ScriptCall("mark_accepted", *_fence(tenant, batch_id, sending_until_ms))
        return int(await self._scripts.command(call)) == 1

    async def mark_unsent(self, tenant: str, batch_id: str, sending_until_ms: int) -> None:
        """Give up sending a batch, so that a repeat of its request sends it at once."""
        await self._scripts.command(ScriptCall("mark_unsent", *_fence(tenant, batch_id, sending_until_ms)))

    async def claim(self, lease: Lease) -> Claim:
        """Take the lease of a task; a record that Redis has lost is rebuilt first."""
        args: Arguments = {
            "owner": lease.owner,
            "lease_ms": lease.lease_ms,
            "max_attempts": lease.max_attempts,
            "late_claim_wait_ms": keys.LATE_CLAIM_WAIT_MS,
        }
        answer = named(await self._scripts.rebuilding_transition("claim", lease.task, args))
        outcome, code = ClaimOutcome(codec.read_text(answer.pop("outcome"))), answer.pop("code", None)
        return Claim(outcome, code=None if code is None else FailureCode(codec.read_text(code)), **answer)

    async def release(self, lease: Lease, release: Release) -> ReleaseOutcome:
        """Return a task to the queue, or fail it where that was its last attempt."""
        args: Arguments = {
            "owner": lease.owner,
            "refund": 1 if release.refund else None,
            "code": release.code,
            "waiting_on": release.waiting_on,
            "max_attempts": lease.max_attempts,
            "refused_by": release.refused_by,
            "provider_error": codec.write_provider_error(release.report.error),
        }
        return ReleaseOutcome(codec.read_text(await self._scripts.transition("release", lease.task.ref, args)))

    async def mark_waiting(self, refs: Sequence[TaskRef], waiting_on: WaitingOn) -> None:
        """Write what queued tasks wait for, in one pipeline; tasks in any other state are left alone."""
        await self._scripts.commands(
            [ScriptCall("mark_waiting", [keys.task_key(ref)], {"waiting_on": waiting_on}) for ref in refs]
        )

    async def complete(self, lease: Lease, answer: Answer, charge: Charge | None = None) -> EndOutcome:
        """Write the answer; the first result wins, also when its lease is over or its record was lost.

        The batch's sums are written with it, the tenant's of the day right after it, on another slot. What is added to
        them is the charge, or without one what the answer says that it has cost. A task that had ended adds nothing.
        """
        if charge is None:
            charge = Charge.billed(answer.usage, answer.cost_nanos)
        args: Arguments = {
            "header": codec.write_header(lease.task),
            "owner": lease.owner,
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "usage": codec.write_usage(answer.usage),
            "response": codec.write_response(lease.task.kind, answer),
            "cost": answer.cost_nanos,
            "charge": codec.write_charge(charge),
        }
        ref = lease.task.ref
        (text, now_ms), event = await self._scripts.unpublished_transition("complete", ref, args)
        outcome = EndOutcome(codec.read_text(text))
        # Booked first: an end that cannot be announced is announced by the next delivery, which has no answer to book.
        if outcome is EndOutcome.ENDED:
            await self._spending.book(keys.booked_key(ref), ref.tenant, charge, now_ms, tasks=1)
        await self._deliveries.publish(ref.tenant, ref.batch_id, event)
        return outcome

    async def charge(self, lease: Lease, charge: Charge) -> None:
        """Add what an attempt has cost that brought no answer to the sums of its batch and of its tenant's day, once.

        It needs no lease: the cost is booked even if another worker has the task by now.
        """
        ref = lease.task.ref
        args: Arguments = {"owner": lease.owner, "charge": codec.write_charge(charge)}
        now_ms = await self._scripts.command(ScriptCall("charge", task_and_batch_keys(ref), args))
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
        args: Arguments = {
            "owner": lease.owner,
            "code": code,
            "last_code": last_code,
            "error_type": error_type,
            "usage": codec.write_usage(report.usage),
            "cost": report.cost_nanos,
            "provider_error": codec.write_provider_error(report.error),
            "partial": report.text,
        }
        return await self._end("fail", lease.task, args)

    async def dead_letter(self, task: Task, code: FailureCode = FailureCode.DEAD_LETTER) -> EndOutcome:
        """Fail a task that the queue has given up, unless its lease is live."""
        return await self._end("dead_letter", task, {"code": code})

    async def save_request(self, ref: TaskRef, request: str) -> None:
        """Keep the request, the body of its message, of a failed task; any other task is left alone."""
        await self._scripts.command(ScriptCall("save_request", [keys.task_key(ref)], {"request": request}))

    async def load_requests(self, refs: Sequence[TaskRef]) -> list[str | None]:
        """Return what failed tasks have kept, in the order asked; the caller bounds the bytes, by `kept_bytes`."""
        values = await self._scripts.commands_on_tasks("load_requests", refs, keys.READ_CHUNK)
        return [None if value is None else codec.read_text(value) for value in values]

    async def save_input(self, ref: TaskRef, text: str) -> None:
        """Keep the input of a response with its task."""
        await self._scripts.command(ScriptCall("save_input", [keys.task_key(ref)], {"input": text}))

    async def load_input(self, ref: TaskRef) -> str | None:
        """Return the input that a task keeps; None where it keeps none."""
        value = await self._scripts.command(ScriptCall("load_input", [keys.task_key(ref)], {}))
        return None if value is None else codec.read_text(value)

    async def retry(self, batch: BatchRecord, refs: Sequence[TaskRef], batch_id: str) -> bool:
        """Take failed tasks of a batch, which keep their requests, for the new batch of this id; each once.

        False where the batch or a task has changed since they were read: then nothing is taken.
        """
        call = ScriptCall(
            "retry",
            [keys.batch_key(batch.tenant, batch.batch_id), *map(keys.task_key, refs)],
            {"known_retry": batch.retry, "batch_id": batch_id},
        )
        return int(await self._scripts.command(call)) == 1

    async def progress(self, notes: Sequence[ProgressNote]) -> list[bool]:
        """Write how far answers are, in one pipeline; False means that somebody else ended or took the task.

        Each note renews its lease; one without text does nothing else.

        A record that Redis has lost is True and stays lost: nobody took it, and the answer will rebuild it.
        """
        items: list[Arguments] = [
            {"owner": note.owner, "percent": note.percent, "partial": note.partial, "lease_ms": note.lease_ms}
            for note in notes
        ]
        refs = [note.ref for note in notes]
        answers = await self._scripts.commands_on_tasks("progress", refs, keys.PROGRESS_CHUNK, items)
        return [answer == 1 for answer in answers]

    async def cancel(self, refs: Sequence[TaskRef], code: FailureCode | None = None) -> list[EndOutcome]:
        """Cancel tasks that have not ended; the outcomes come in the order of the refs."""
        outcomes = await self._scripts.transitions("cancel", refs, {"code": code}, keys.CANCEL_CHUNK)
        return [EndOutcome(codec.read_text(outcome)) for outcome in outcomes]

    async def delete(self, refs: Sequence[TaskRef]) -> None:
        """Cancel tasks that have not ended, and delete them: nothing reads or runs them again. Safe to repeat."""
        await self.cancel(refs)
        await self._scripts.commands([ScriptCall("delete", [keys.task_key(ref)]) for ref in refs])

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read records of any batches in the order asked, None for an unknown one; a task past its deadline fails now.

        Without text the records come with neither answer nor partial text: enough to count.
        """
        names = codec.field_names(with_text=with_text)
        args: Arguments = {"fields": codec.write_json(names)}
        answers = await self._scripts.transitions("read", refs, args, keys.READ_CHUNK)
        return [
            None if values is None else codec.read_record(ref, codec.by_name(names, values))
            for ref, values in zip(refs, answers, strict=True)
        ]

    async def read_batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        """Read a batch's record, None for an unknown one."""
        names = codec.batch_field_names()
        args: Arguments = {"fields": codec.write_json(names)}
        values = await self._scripts.command(ScriptCall("read_batch", [keys.batch_key(tenant, batch_id)], args))
        return None if values is None else codec.read_batch(tenant, batch_id, codec.by_name(names, values))

    async def spend(self, tenant: str, day: str) -> Spend:
        """Return what a tenant has spent on a day, `yyyy-mm-dd` in UTC."""
        return await self._spending.read(tenant, day)

    async def _end(self, script: str, task: Task, args: Arguments) -> EndOutcome:
        return EndOutcome(codec.read_text(await self._scripts.rebuilding_transition(script, task, args)))


def _fence(tenant: str, batch_id: str, sending_until_ms: int) -> tuple[list[str], Arguments]:
    return [keys.batch_key(tenant, batch_id)], {"sending_until_ms": sending_until_ms}
