"""Classify an ID that has no record: expired, or never issued. Standard library only.

A batch id carries its birth, and no record lives shorter than the shortest retention: an id older than that, of which
there is nothing, has outlived its record. The id of an Idempotency-Key has no birth, so nothing is known of it.
"""

from typing import Final

from common.domain.errors import Gone, NotFound
from common.domain.task import SHORTEST_RETENTION_SECONDS, TaskRef, birth_of, is_batch_id

NOT_FOUND: Final = "not_found"
"""The status of an ID without a task of the caller: never issued, or another tenant's."""

EXPIRED: Final = "expired"
"""The status of an ID that is older than any record."""


def status_of_missing(task_id: str, now_ms: int) -> str:
    """Return the status of a task that has no record."""
    ref = TaskRef.parse("", task_id)
    return EXPIRED if ref is not None and _is_outlived(ref.batch_id, now_ms) else NOT_FOUND


def missing_task(task_id: str, now_ms: int) -> NotFound | Gone:
    """Return the error for a task that has no record."""
    if status_of_missing(task_id, now_ms) == EXPIRED:
        return Gone("this task has expired", code=EXPIRED)
    return NotFound("there is no such task")


def missing_batch(batch_id: str, now_ms: int) -> NotFound | Gone:
    """Return the error for a batch that has no record."""
    if is_batch_id(batch_id) and _is_outlived(batch_id, now_ms):
        return Gone("this batch has expired", code=EXPIRED)
    return NotFound("there is no such batch")


def _is_outlived(batch_id: str, now_ms: int) -> bool:
    birth_ms = birth_of(batch_id)
    return birth_ms is not None and now_ms - birth_ms > SHORTEST_RETENTION_SECONDS * 1000
