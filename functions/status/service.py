"""Look up tasks and batches, in pages that fit a response of Lambda."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote

from common.api.lookup import BatchReader, find_batch
from common.api.missing import missing_task, status_of_missing
from common.api.pagination import fill_page, fitting
from common.api.serializers import TEXT_FIELDS, Body, chosen, show_batch, show_missing, show_task, status_in
from common.domain.task import TaskRecord, TaskRef, TaskStatus
from functions.status.query import Page, query_of

type Fields = frozenset[str] | None
"""The fields to show; None for all."""

RUNNING_RETRY_AFTER_SECONDS: Final = 1
"""A worker writes progress once a second, so more frequent polls show nothing new."""

QUEUED_RETRY_AFTER_SECONDS: Final = 2
"""None of the tasks has started."""


class TaskReader(BatchReader, Protocol):
    """Read records. Each method raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the given order, None for an unknown one; without text they are small."""


@dataclass(frozen=True, slots=True)
class View:
    """Hold the body of a response, and the seconds until the next poll; None if all tasks have ended."""

    body: Body
    retry_after: int | None


class StatusService:
    """Look up tasks and batches of any tenant; each sees only its own."""

    def __init__(self, store: TaskReader, *, now_ms: Callable[[], int]) -> None:
        """Create the service with a store and a clock in milliseconds since 1970."""
        self._store = store
        self._now_ms = now_ms

    async def task(self, tenant: str, task_id: str, fields: Fields = None) -> View:
        """Show one task, or those fields of it.

        Raises:
            NotFound, Gone: the tenant has no such task, or has it no longer.

        """
        [record] = await self._read(tenant, [task_id], fields)
        if record is None:
            raise missing_task(task_id, self._now_ms())
        return View(fitting(show_task(record, fields)), _retry_after([record.status]))

    async def tasks(self, tenant: str, task_ids: Sequence[str], fields: Fields = None) -> View:
        """Show tasks, or those fields of them, in the requested order; `next` is the link to those that do not fit."""
        now_ms = self._now_ms()

        async def show(chunk: Sequence[str]) -> list[Body]:
            return [
                show_task(record, fields) if record else show_missing(task_id, status_of_missing(task_id, now_ms))
                for task_id, record in zip(chunk, await self._read(tenant, chunk, fields), strict=True)
            ]

        shown = await fill_page(task_ids, show)
        body: Body = {"tasks": shown}
        if omitted := task_ids[len(shown) :]:
            body["next"] = f"?task_ids={quote(','.join(omitted), safe=',')}{query_of(fields)}"
        return View(body, _retry_after([task["status"] for task in shown]))

    async def batch(self, tenant: str, batch_id: str, page: Page) -> View:
        """Show a batch with a page of its tasks, without their results; `next` is the link to the next page.

        A page ends before its limit where the response is full.

        Raises:
            NotFound, Gone: the tenant has no such batch, or has it no longer.

        """
        batch = await find_batch(self._store, tenant, batch_id, now_ms=self._now_ms())
        refs = batch.refs()
        records = await self._store.read(refs, with_text=False)
        now_ms = self._now_ms()
        body = show_batch(batch, records, now_ms)
        if page.fields is None or "tasks" in page.fields:
            wanted = [
                place
                for place in range(page.start, batch.size)
                if page.status is None or _status(records[place]) is page.status
            ]

            async def show(places: Sequence[int]) -> list[Body]:
                absent = status_in(batch, now_ms)
                found = [(refs[place], records[place]) for place in places]
                return [show_task(record) if record else show_missing(ref.task_id, absent) for ref, record in found]

            shown = await fill_page(wanted[: page.limit], show, beside=body)
            body["tasks"] = shown
            if len(wanted) > len(shown):
                body["next"] = page.following(wanted[len(shown)])
        return View(chosen(body, page.fields), _retry_after([record.status for record in records if record]))

    async def refs_of(self, tenant: str, batch_id: str) -> list[TaskRef]:
        """Return the references of the tasks of a batch.

        Raises:
            NotFound, Gone: the tenant has no such batch, or has it no longer.

        """
        return (await find_batch(self._store, tenant, batch_id, now_ms=self._now_ms())).refs()

    async def _read(self, tenant: str, task_ids: Sequence[str], fields: Fields) -> list[TaskRecord | None]:
        refs = {task_id: TaskRef.parse(tenant, task_id) for task_id in task_ids}
        known = {task_id: ref for task_id, ref in refs.items() if ref is not None}
        # Answers are most of a record, and all that may be large.
        with_text = fields is None or not fields.isdisjoint(TEXT_FIELDS)
        found = dict(zip(known, await self._store.read(list(known.values()), with_text=with_text), strict=True))
        return [found.get(task_id) for task_id in task_ids]


def _status(record: TaskRecord | None) -> TaskStatus | None:
    return record.status if record else None


def _retry_after(statuses: Sequence[str]) -> int | None:
    if TaskStatus.PROCESSING in statuses:
        return RUNNING_RETRY_AFTER_SECONDS
    return QUEUED_RETRY_AFTER_SECONDS if TaskStatus.QUEUED in statuses else None
