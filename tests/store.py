"""Ask the store from a test that has no loop, on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable

from common.settings import RedisSettings
from common.store import TaskStore, connect
from common.tasks import TaskRecord, TaskRef


def on_store[Answer](settings: RedisSettings, use: Callable[[TaskStore], Awaitable[Answer]]) -> Answer:
    """Return what `use` makes of the store."""

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
