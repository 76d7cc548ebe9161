"""Count each tenant's messages in a queue: a place for each task, from before it is sent until its message is deleted.

A task is in a sorted set, so that a duplicate or a repeat counts it once. The score is when its place expires.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import batched

from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.task import TaskRef
from common.store import keys
from common.store.client import Client, redis_errors
from common.store.codec import write_json
from common.store.scripts import ScriptCall, Scripts, read_sources


class BacklogStore:
    """Keep one sorted set for each tenant and queue, timed by the server's clock.

    Every method raises StoreUnavailable when Redis does not answer; each is safe to repeat.
    """

    def __init__(self, client: Client, scripts: Scripts | None = None) -> None:
        """Take an open client, which the caller closes; tests hand in scripts with a clock of their own."""
        self._client = client
        self._scripts = scripts or Scripts(read_sources())

    async def reserve(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, limit: QueueLimit) -> int:
        """Reserve places for a batch before it is sent, and return 0; else by how many tasks there are too many.

        The tenant may have as many tasks in the queue as are free for others, at a share of 50 percent; at 80 percent
        four times as many, and so on. Places that are not confirmed expire with the lease.
        """
        call = ScriptCall(
            "reserve_backlog",
            [keys.backlog_key(tenant, queue)],
            {
                "batch_id": batch_id,
                "size": size,
                "depth": limit.depth,
                "cap": limit.cap,
                "share": limit.share,
                "lease_ms": keys.SENDING_LEASE_MS,
            },
        )
        with redis_errors():
            return int(await self._scripts.run(self._client, call))

    async def confirm(self, tenant: str, queue: BacklogQueue, batch_id: str, size: int, deadline_ms: int) -> None:
        """Keep the places of a batch that was sent; a task that a worker has removed already stays removed."""
        call = ScriptCall(
            "confirm_backlog",
            [keys.backlog_key(tenant, queue)],
            {"batch_id": batch_id, "size": size, "until_ms": deadline_ms + keys.BACKLOG_GRACE_MS},
        )
        with redis_errors():
            await self._scripts.run(self._client, call)

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        """Give back the places of tasks whose messages have left the queue, or were not sent."""
        ids_of: defaultdict[str, list[str]] = defaultdict(list)
        for ref in refs:
            ids_of[ref.tenant].append(ref.task_id)
        calls = [
            ScriptCall("remove_backlog", [keys.backlog_key(tenant, queue)], {"task_ids": write_json(some)})
            for tenant, ids in ids_of.items()
            for some in batched(ids, keys.BACKLOG_CHUNK, strict=False)
        ]
        with redis_errors():
            await self._scripts.run_many(self._client, calls)
