"""Build one batch in the fake store."""

from common.domain.task import Answer, NewBatch, Task, TaskRef, TaskSpec, new_batch_id
from common.domain.transitions import Lease
from tests.fakes import FakeStore
from tests.store import accepted

BATCH = new_batch_id(1, bytes(16))
NOW_MS = 1_000
DEADLINE_IN_MS = 60_000
RETENTION_MS = 100_000


class StoredBatch:
    """A batch of the tenant "acme", on a clock that the test sets with `now_ms`."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.store = FakeStore(lambda: self.now_ms)

    async def create(self, size: int = 3) -> list[str]:
        """Create the batch, accept it and return the ids of its tasks."""
        await accepted(self.store, NewBatch("acme", BATCH, (TaskSpec("m"),) * size, DEADLINE_IN_MS, RETENTION_MS))
        return [TaskRef("acme", BATCH, index).task_id for index in range(size)]

    async def claim(self, index: int) -> Lease:
        """Claim a task, as its worker does."""
        task = Task(
            ref=TaskRef("acme", BATCH, index),
            batch_size=1,
            created_ms=NOW_MS,
            deadline_ms=NOW_MS + DEADLINE_IN_MS,
            retention_ms=RETENTION_MS,
            model="m",
        )
        lease = Lease(task, f"owner-{index}", 10_000, 3)
        await self.store.claim(lease)
        return lease

    async def complete(self, index: int, text: str = "done") -> None:
        """Claim a task and complete it."""
        await self.store.complete(await self.claim(index), Answer(text, "stop"))
