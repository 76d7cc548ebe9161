"""Write values as Redis keeps them, and read them back equal.

A broken model may send any text that JSON can hold, lone surrogates and NUL included: it is kept as it came.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Final

from common.domain.request import Kind
from common.domain.spending import Charge
from common.domain.task import (
    Answer,
    Attempt,
    BatchRecord,
    FailureCode,
    ProviderError,
    Task,
    TaskRecord,
    TaskRef,
    TaskStatus,
    Usage,
    WaitingOn,
)
from common.kinds.registry import registration_of
from common.store.scripts import Argument
from common.webhooks.events import WebhookNotification
from common.webhooks.model import Webhook, WebhookDelivery, WebhookDeliveryCode, WebhookDeliveryStatus

type Value = bytes | int | None

_SHORT_FIELDS: Final = (
    "status",
    "progress",
    "attempts",
    "created",
    "deadline",
    "kind",
    "model",
    "custom_id",
    "started",
    "updated",
    "ended",
    "code",
    "last_code",
    "error_type",
    "waiting_on",
    "kept",
    "retried_as",
)
_TEXT_FIELDS: Final = ("partial", "result", "finish_reason", "usage", "response", "cost")
_EXPIRY: Final = "expires"

_UNTOLD: Final = "~"
"""Stands in an attempt for what the provider did not say of its failure; it is in no name that is kept."""

MARKS: Final = {TaskStatus.COMPLETED: "c", TaskStatus.FAILED: "f", TaskStatus.CANCELLED: "x"}
"""How lib/batch_event.lua marks the end of a task in its batch."""


def field_names(*, with_text: bool) -> tuple[str, ...]:
    """Name the fields of a record to read, in the order in which `read_record` takes their values."""
    return _SHORT_FIELDS + _TEXT_FIELDS if with_text else _SHORT_FIELDS


def write_text(text: str) -> bytes:
    """Encode any text; UTF-8 proper has no lone surrogates, so they pass through."""
    return text.encode("utf-8", "surrogatepass")


def read_text(value: Value) -> str:
    """Decode what `write_text` wrote."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def write_optional(text: str | None) -> bytes:
    """Encode a script's argument that may be absent: empty, or `=` and the text."""
    return b"" if text is None else b"=" + write_text(text)


def write_task(task: Task) -> list[Argument]:
    """List what the message says of a task, as the scripts that may rebuild its record take it."""
    return [
        task.batch_size,
        task.created_ms,
        task.deadline_ms,
        task.retention_ms,
        write_text(task.model),
        write_optional(task.custom_id),
    ]


def write_usage(usage: Usage | None) -> bytes:
    """Encode a usage as an optional argument."""
    if usage is None:
        return write_optional(None)
    return write_optional(json.dumps(list(astuple(usage))))


def write_charge(charge: Charge) -> str:
    """List the amounts of a charge by the names of the sums that they belong to; what is not known is left out."""
    amounts = {} if charge.usage is None else asdict(charge.usage)
    if charge.cost_nanos is not None:
        amounts["cost"] = charge.cost_nanos
    if charge.estimated_tokens:
        amounts |= {"estimated_tokens": charge.estimated_tokens, "estimated_cost": charge.estimated_nanos}
    return " ".join(f"{name}:{amount}" for name, amount in amounts.items())


def write_provider_error(error: ProviderError | None) -> bytes:
    """Encode a provider's error as an optional argument; lib/task_record.lua puts it into the attempts."""
    parts = () if error is None else (error.code, error.param, error.request_id)
    return write_optional(":".join(part or _UNTOLD for part in parts) if any(parts) else None)


def write_response(kind: Kind, answer: Answer) -> bytes:
    """Encode the response of an answer as an optional argument; its text is stored beside it."""
    response = registration_of(kind).views.stored_response(answer)
    return write_optional(None if response is None else json.dumps(response, separators=(",", ":")))


def write_metadata(metadata: Mapping[str, str] | None) -> bytes:
    """Encode a batch's metadata as an optional argument."""
    return write_optional(None if metadata is None else json.dumps(dict(metadata)))


def write_webhook(webhook: Webhook | None) -> bytes:
    """Encode a webhook as an optional argument."""
    return write_optional(None if webhook is None else webhook.encode())


def write_delivery(delivery: WebhookDelivery) -> list[Argument]:
    """List what record_receipt.lua takes of a delivery."""
    rest = (delivery.status_code, delivery.code, delivery.next_attempt_ms, delivery.delivered_ms)
    return [delivery.status, delivery.attempts, ":".join("" if value is None else str(value) for value in rest)]


def read_notification(tenant: str, batch_id: str, due: Sequence[Value]) -> WebhookNotification:
    """Read the event of a batch from lib/announce.lua: its webhook, when it was due, and how its tasks ended."""
    hook, due_ms, marks = map(read_text, due)
    counts = {status.value: marks.count(mark) for status, mark in MARKS.items()}
    return WebhookNotification(tenant, batch_id, Webhook.decode(hook).url, int(due_ms), counts)


def read_record(ref: TaskRef, values: Sequence[Value]) -> TaskRecord:
    """Make a task's record of the values of `field_names` and its expiry."""
    names = field_names(with_text=len(values) > len(_SHORT_FIELDS) + 1)
    fields = {name: value for name, value in zip((*names, _EXPIRY), values, strict=True) if value is not None}

    def text(name: str) -> str | None:
        return read_text(fields[name]) if name in fields else None

    def number(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    code, last_code, waiting_on = text("code"), text("last_code"), text("waiting_on")
    usage, cost_nanos = _read_usage(text("usage")), number("cost")
    status, kind = TaskStatus(read_text(fields["status"])), Kind(read_text(fields["kind"]))
    is_answered = status is TaskStatus.COMPLETED
    return TaskRecord(
        ref=ref,
        status=status,
        progress=int(fields["progress"]),
        attempts=_read_attempts(text("attempts") or ""),
        created_ms=int(fields["created"]),
        deadline_ms=int(fields["deadline"]),
        expires_ms=int(fields[_EXPIRY]),
        kind=kind,
        model=read_text(fields["model"]),
        custom_id=text("custom_id"),
        started_ms=number("started"),
        updated_ms=number("updated"),
        ended_ms=number("ended"),
        partial=text("partial"),
        answer=_read_answer(kind, text("result"), text("finish_reason"), usage, text("response"), cost_nanos),
        code=FailureCode(code) if code else None,
        last_code=FailureCode(last_code) if last_code else None,
        error_type=text("error_type"),
        failed_usage=None if is_answered else usage,
        failed_cost_nanos=None if is_answered else cost_nanos,
        waiting_on=WaitingOn(waiting_on) if waiting_on else None,
        kept_bytes=number("kept"),
        retried_as=text("retried_as"),
    )


def read_batch(tenant: str, batch_id: str, values: Sequence[Value]) -> BatchRecord:
    """Make a batch's record of the values that read_batch.lua answers."""
    size, created_ms, deadline_ms, metadata, expires_ms, accepted, retry, hook, delivery, *sums = values
    cost, estimated_tokens, estimated_nanos, *tokens = sums
    return BatchRecord(
        tenant=tenant,
        batch_id=batch_id,
        size=int(size or 0),
        created_ms=int(created_ms or 0),
        deadline_ms=int(deadline_ms or 0),
        expires_ms=int(expires_ms or 0),
        metadata=None if metadata is None else json.loads(read_text(metadata)),
        is_accepted=accepted is not None,
        retry=None if retry is None else read_text(retry),
        webhook=None if hook is None else Webhook.decode(read_text(hook)),
        delivery=WebhookDelivery() if delivery is None else _read_delivery(read_text(delivery)),
        usage=None if tokens[0] is None else Usage(*(int(count or 0) for count in tokens)),
        cost_nanos=None if cost is None else int(cost),
        estimated_tokens=int(estimated_tokens or 0),
        estimated_nanos=int(estimated_nanos or 0),
    )


def _read_delivery(text: str) -> WebhookDelivery:
    status, attempts, status_code, code, next_ms, delivered_ms = text.split(":")
    return WebhookDelivery(
        WebhookDeliveryStatus(status),
        int(attempts),
        int(status_code) if status_code else None,
        WebhookDeliveryCode(code) if code else None,
        int(next_ms) if next_ms else None,
        int(delivered_ms) if delivered_ms else None,
    )


def _read_attempts(text: str) -> tuple[Attempt, ...]:
    """Read `start:end:code;` for each attempt, as lib/task_record.lua writes it."""
    return tuple(_read_attempt(*each.split(":")) for each in text.split(";") if each)


def _read_attempt(started: str, ended: str, code: str, *told: str) -> Attempt:
    return Attempt(
        int(started),
        int(ended) if ended else None,
        FailureCode(code) if code else None,
        ProviderError(*(None if part == _UNTOLD else part for part in told)) if told else None,
    )


def _read_usage(text: str | None) -> Usage | None:
    return Usage(*json.loads(text)) if text else None


def _read_answer(  # noqa: PLR0913, PLR0917  # each is a field of the record
    kind: Kind,
    text: str | None,
    finish_reason: str | None,
    usage: Usage | None,
    response: str | None,
    cost_nanos: int | None,
) -> Answer | None:
    if text is None:
        return None
    kept = json.loads(response) if response else None
    views = registration_of(kind).views
    tool_calls, refusal = views.tool_calls_of(kept), views.refusal_of(kept)
    return Answer(text, finish_reason, usage, tool_calls, cost_nanos, refusal=refusal, response=kept)
