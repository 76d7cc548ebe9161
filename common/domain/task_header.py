"""Encode and decode the header of a task: the fields of `Task` that the queue's message and the store's scripts carry.

Standard library only. A new field of `Task` is added to an encoder and to `decode` here. An optional field
that is absent is omitted.
"""

from collections.abc import Mapping
from typing import Any

from common.domain.request import Kind
from common.domain.task import NewBatch, Task, TaskRef
from common.webhooks.model import Webhook


def encode(task: Task) -> dict[str, Any]:
    """Return the header as a JSON object with named fields; times and durations are in milliseconds."""
    return {
        "tenant": task.ref.tenant,
        "batch_id": task.ref.batch_id,
        "index": task.ref.index,
        **encode_without_ref(task),
    }


def encode_without_ref(task: Task) -> dict[str, Any]:
    """Return the header without the three fields that name the task, for a record whose key names it."""
    header: dict[str, Any] = {
        "batch_size": task.batch_size,
        "created_ms": task.created_ms,
        "deadline_ms": task.deadline_ms,
        "retention_ms": task.retention_ms,
        "kind": task.kind,
        "model": task.model,
    }
    if task.custom_id is not None:
        header["custom_id"] = task.custom_id
    if task.webhook is not None:
        header["webhook"] = task.webhook.encode()
    return header


def encode_new(batch: NewBatch) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header fields that all tasks of a new batch share, and those of each task.

    The store adds the times; a field that is None is absent.
    """
    shared = {
        "retention_ms": batch.retention_ms,
        "kind": batch.kind,
        "webhook": None if batch.webhook is None else batch.webhook.encode(),
    }
    each = [{"model": task.model, "custom_id": task.custom_id} for task in batch.tasks]
    return shared, each


def decode(header: Mapping[str, Any]) -> Task:
    """Read what `encode` wrote.

    Raises:
        KeyError: a required field is missing.
        TypeError, ValueError: a field has the wrong type, or the three that name the task name none.

    """
    ref = TaskRef(str(header["tenant"]), str(header["batch_id"]), int(header["index"]))
    if TaskRef.parse(ref.tenant, ref.task_id) != ref:
        message = "no task has this batch_id and index"
        raise ValueError(message)
    custom_id, webhook = header.get("custom_id"), header.get("webhook")
    return Task(
        ref=ref,
        batch_size=int(header["batch_size"]),
        created_ms=int(header["created_ms"]),
        deadline_ms=int(header["deadline_ms"]),
        retention_ms=int(header["retention_ms"]),
        kind=Kind(header["kind"]),
        model=str(header["model"]),
        custom_id=custom_id,
        webhook=Webhook.decode(webhook) if webhook else None,
    )
