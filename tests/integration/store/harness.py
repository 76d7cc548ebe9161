"""Give the stores under test one face: a store, a clock to move, and a way to lose keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from common.domain.errors import QueueUnavailable
from common.domain.task import NewBatch, Task, TaskRecord, TaskRef, TaskSpec, new_batch_id
from common.domain.transitions import Created, Lease
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from common.store.client import Client
from common.store.keys import batch_key, task_key
from common.store.scripts import ScriptCall, Scripts, read_sources
from common.store.webhook_deliveries import WebhookDeliveryStore
from common.webhooks.events import WebhookNotification
from common.webhooks.model import Webhook
from tests.fakes import FakeStore
from tests.store import accepted

START_MS: Final = 4_000_000_000_000
"""Our time starts in 2096, so that the server's own clock expires no key of a test: `advance` does."""

CLOCK_KEY: Final = "clock-of-the-test"
CLOCK: Final = f"local now = tonumber(redis.call('GET', '{CLOCK_KEY}'))\n"
"""Replaces lib/clock.lua. A script without a shebang may read a key that it did not declare, if its node has it."""

MOVE_CLOCK: Final = """
redis.call('SET', KEYS[1], ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
  local expiry = redis.call('PEXPIRETIME', key)
  if expiry >= 0 and expiry <= tonumber(ARGV[1]) then redis.call('DEL', key) end
end
"""

TENANT: Final = "acme"
DEADLINE_IN_MS: Final = 6 * 3_600_000
RETENTION_MS: Final = 24 * 3_600_000
LEASE_MS: Final = 305_000
MAX_ATTEMPTS: Final = 3


class Loudspeaker:
    """Announce to nobody: keep what was announced, and fail where that is told."""

    def __init__(self) -> None:
        self.announced: list[WebhookNotification] = []
        self.fails = False

    async def publish(self, announcement: WebhookNotification) -> None:
        if self.fails:
            raise QueueUnavailable("the test says so")
        self.announced.append(announcement)


class Harness(Protocol):
    """Run a store on time that only the test moves."""

    store: Any
    deliveries: Any
    announcer: Loudspeaker
    now_ms: int

    async def advance(self, ms: int) -> None: ...
    async def lose(self, ref: TaskRef) -> None: ...
    async def lose_batch(self, tenant: str, batch_id: str) -> None: ...


class FakeHarness:
    def __init__(self) -> None:
        self.now_ms = START_MS
        self.announcer = Loudspeaker()
        self.store = self.deliveries = FakeStore(lambda: self.now_ms, announcer=self.announcer)

    async def advance(self, ms: int) -> None:
        self.now_ms += ms

    async def lose(self, ref: TaskRef) -> None:
        self.store.lose(ref)

    async def lose_batch(self, tenant: str, batch_id: str) -> None:
        self.store.lose_batch(tenant, batch_id)


class ValkeyHarness:
    def __init__(self, client: Client, scripts: Scripts) -> None:
        self.now_ms = START_MS
        self.client = client
        self.scripts = scripts
        self.announcer = Loudspeaker()
        self.store = TaskStore(client, scripts, announcer=self.announcer)
        self.silent_store = TaskStore(client, scripts)
        self.deliveries = WebhookDeliveryStore(client, scripts)

    async def advance(self, ms: int) -> None:
        self.now_ms += ms
        await self.client.eval(MOVE_CLOCK, 1, CLOCK_KEY, self.now_ms)

    async def lose(self, ref: TaskRef) -> None:
        await self.client.delete(task_key(ref))

    async def lose_batch(self, tenant: str, batch_id: str) -> None:
        await self.client.delete(batch_key(tenant, batch_id))


class TwiceScripts(Scripts):
    """Apply every call twice and return the second answer, as redis-py does when it loses the first."""

    async def run(self, client: Client, call: ScriptCall) -> Any:  # noqa: ANN401  as in its base
        await super().run(client, call)
        return await super().run(client, call)

    async def run_many(self, client: Client, calls: Sequence[ScriptCall]) -> list[Any]:
        await super().run_many(client, calls)
        return await super().run_many(client, calls)


def scripts_on_test_time() -> dict[str, str]:
    """Read the product's scripts and replace their clock."""
    return read_sources() | {"lib/clock": CLOCK}


@asynccontextmanager
async def valkey_harness(settings: RedisSettings, scripts: Scripts) -> AsyncIterator[ValkeyHarness]:
    """Open an empty store; at the end no key may be left without a time to live."""
    client = connect(settings)
    try:
        await client.flushall()
        harness = ValkeyHarness(client, scripts)
        await harness.advance(0)
        yield harness
        async for key in client.scan_iter():
            assert key == CLOCK_KEY.encode() or await client.pttl(key) > 0, f"{key} never expires"
    finally:
        await client.aclose()


def new_batch(
    size: int = 2,
    *,
    digest: str | None = None,
    tenant: str = TENANT,
    batch_id: str | None = None,
    webhook: Webhook | None = None,
) -> NewBatch:
    return NewBatch(
        tenant=tenant,
        batch_id=batch_id or new_batch_id(START_MS, bytes(16)),
        tasks=tuple(TaskSpec("gpt-test", f"item-{index}" if index % 2 else None) for index in range(size)),
        deadline_in_ms=DEADLINE_IN_MS,
        retention_ms=RETENTION_MS,
        digest=digest,
        webhook=webhook,
    )


def tasks_of(batch: NewBatch, created: Created) -> list[Task]:
    """Make the tasks as the messages of a batch carry them."""
    return [
        Task(
            ref=TaskRef(batch.tenant, batch.batch_id, index),
            batch_size=batch.size,
            created_ms=created.created_ms,
            deadline_ms=created.deadline_ms,
            retention_ms=batch.retention_ms,
            webhook=batch.webhook,
            **spec.spec_fields(),
        )
        for index, spec in enumerate(batch.tasks)
    ]


def lease_of(task: Task, owner: str = "owner-a", *, max_attempts: int = MAX_ATTEMPTS) -> Lease:
    return Lease(task, owner, LEASE_MS, max_attempts)


async def submitted(harness: Harness, size: int = 1, *, webhook: Webhook | None = None) -> list[Task]:
    """Record and accept a batch and return its queued tasks."""
    batch = new_batch(size, webhook=webhook)
    return tasks_of(batch, await accepted(harness.store, batch))


async def read_one(harness: Harness, ref: TaskRef) -> TaskRecord:
    """Read a record that must be there."""
    (record,) = await harness.store.read([ref])
    assert isinstance(record, TaskRecord)
    return record
