"""Name every Redis key, its time to live and the limits of one script call, each with its unit and its reason."""

from typing import Final
from urllib.parse import quote

from common.tasks import TaskRef

TASK_KEY: Final = "task:{{{tag}}}:{index}"
"""One hash per task. The braces are Redis Cluster's hash tag: a batch and its tasks live on one slot."""

BATCH_KEY: Final = "batch:{{{tag}}}"
"""One hash per batch: its size, its times and how far its acceptance got."""

# Every key expires. A task's key lives until `deadline + retention` while it is unfinished, because a task ends at its
# deadline at the latest, and until `ended + retention` once it has ended. A batch's key outlives those of its tasks.

SENDING_LEASE_MS: Final = 35_000
"""How long one call may be sending a batch before another may take over: API Gateway's 29 s and a grace."""

LATE_CLAIM_WAIT_MS: Final = 1_000
"""What a claim waits that arrives after its own owner has let go: nobody reads that answer, so any small time does."""

READ_CHUNK: Final = 20
"""Records read by one script call: each may hold a long answer, and a script keeps the server from all others."""

CANCEL_CHUNK: Final = 100
"""Records cancelled by one script call, for the same reason; they are small."""


def task_key(ref: TaskRef) -> str:
    """Return the key of a task's record."""
    return TASK_KEY.format(tag=_tag(ref.tenant, ref.batch_id), index=ref.index)


def batch_key(tenant: str, batch_id: str) -> str:
    """Return the key of a batch's record."""
    return BATCH_KEY.format(tag=_tag(tenant, batch_id))


def _tag(tenant: str, batch_id: str) -> str:
    # A brace in a tenant's name would end the hash tag early and spread the batch over several slots.
    return f"{quote(tenant, safe='', errors='surrogatepass')}/{batch_id}"
