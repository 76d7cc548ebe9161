"""Look up a batch of a tenant, or raise why it is missing."""

from typing import Protocol

from common.api.missing import missing_batch
from common.domain.task import BatchRecord, is_batch_id


class BatchReader(Protocol):
    """Read batches. Raises StoreUnavailable where Redis does not answer."""

    async def read_batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        """Read a batch, None for an unknown one."""


async def find_batch(store: BatchReader, tenant: str, batch_id: str, *, now_ms: int) -> BatchRecord:
    """Return a batch of this tenant; the time is in milliseconds since 1970.

    Raises:
        NotFound, Gone: the tenant has no such batch, or has it no longer.

    """
    batch = await store.read_batch(tenant, batch_id) if is_batch_id(batch_id) else None
    if batch is None:
        raise missing_batch(batch_id, now_ms)
    return batch
