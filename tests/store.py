"""Helpers for tests of the store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from common.domain.task import NewBatch, TaskRecord, TaskRef
from common.domain.transitions import Created
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect


class BatchWriter(Protocol):
    """Record batches: the store, or its stand-in."""

    async def create(self, batch: NewBatch) -> Created: ...
    async def mark_accepted(self, tenant: str, batch_id: str, sending_until_ms: int) -> bool: ...


async def accepted(store: BatchWriter, batch: NewBatch) -> Created:
    """Record and accept a batch, as submit does: its tasks may be claimed then."""
    created = await store.create(batch)
    assert await store.mark_accepted(batch.tenant, batch.batch_id, created.sending_until_ms)
    return created


def on_store[Answer](settings: RedisSettings, use: Callable[[TaskStore], Awaitable[Answer]]) -> Answer:
    """Return what `use` makes of the store, on a connection of its own: for a test that has no loop."""

    async def run() -> Answer:
        client = connect(settings)
        try:
            return await use(TaskStore(client))
        finally:
            await client.aclose()

    return asyncio.run(run())


def record_of(settings: RedisSettings, ref: TaskRef) -> TaskRecord:
    """Read the record of a task that there is."""
    [record] = on_store(settings, lambda store: store.read([ref]))
    assert record is not None
    return record
