"""Cancel tasks that have not ended."""

from collections.abc import Callable, Sequence
from typing import Protocol

from common.api.lookup import BatchReader, find_batch
from common.api.missing import missing_task
from common.api.serializers import Body, show_batch, show_task
from common.domain.errors import Conflict
from common.domain.task import FailureCode, TaskRecord, TaskRef, TaskStatus
from common.domain.transitions import EndOutcome


class TaskCanceller(BatchReader, Protocol):
    """Store that cancels and reads tasks. Each method raises StoreUnavailable if Redis does not answer."""

    async def cancel(self, refs: Sequence[TaskRef], code: FailureCode | None = None) -> list[EndOutcome]:
        """Cancel tasks that have not ended. ENDED: the task is cancelled; ALREADY: it is completed or failed."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the given order, None for an unknown one; without text they are small."""


class AlreadyEnded(Conflict):
    """The task has ended: its result or failure is final."""

    code = "already_ended"

    def __init__(self, status: TaskStatus) -> None:
        """Create the error with the final status."""
        super().__init__(f"the task has already ended: it is {status}", members={"task_status": status})


class Cancellation:
    """Cancel tasks of all tenants; a tenant reaches only its own tasks."""

    def __init__(self, store: TaskCanceller, *, now_ms: Callable[[], int]) -> None:
        """Create the service with a store and a clock in milliseconds since 1970."""
        self._store = store
        self._now_ms = now_ms

    async def task(self, tenant: str, task_id: str) -> Body:
        """Cancel one task and show it; idempotent.

        Raises:
            NotFound, Gone: the tenant has no such task, or the task has expired.
            AlreadyEnded: the task is completed or failed.

        """
        ref = TaskRef.parse(tenant, task_id)
        if ref is None:
            raise missing_task(task_id, self._now_ms())
        [outcome] = await self._store.cancel([ref])
        # Without its text: a cancelled task has none, and another one is not shown.
        [record] = await self._store.read([ref], with_text=False)
        if record is None:
            raise missing_task(task_id, self._now_ms())
        if outcome is EndOutcome.ALREADY:
            raise AlreadyEnded(record.status)
        return show_task(record)

    async def batch(self, tenant: str, batch_id: str) -> Body:
        """Cancel the tasks of a batch that have not ended, and return the batch without its tasks.

        Raises:
            NotFound, Gone: the tenant has no such batch, or the batch has expired.

        """
        batch = await find_batch(self._store, tenant, batch_id, now_ms=self._now_ms())
        refs = batch.refs()
        await self._store.cancel(refs)
        return show_batch(batch, await self._store.read(refs, with_text=False), self._now_ms())
