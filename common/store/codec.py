"""Encode the arguments of scripts, and decode records.

Objects are JSON with the names of their dataclass fields; a field that is None is omitted. A broken model may send any
text that JSON can hold, lone surrogates and NUL included: it is kept as it came.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from typing import Any, Final

from common.domain import task_header
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
from common.store.scripts import named
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

_BATCH_FIELDS: Final = (
    *("size", "created", "deadline", "metadata", "accepted", "retry", "webhook", "delivery"),
    *(
        "cost",
        "estimated_tokens",
        "estimated_cost",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
    ),
)

TRUNCATED_MARK: Final = "i"
"""The mark of a task that completed at its token limit."""

MARKS: Final = {TaskStatus.COMPLETED: "c", TaskStatus.FAILED: "f", TaskStatus.CANCELLED: "x"}
"""How lib/batch_event.lua marks the end of a task in its batch."""


def field_names(*, with_text: bool) -> tuple[str, ...]:
    """Return the names of the fields of a task's record, with or without the texts of its answer."""
    return _SHORT_FIELDS + _TEXT_FIELDS if with_text else _SHORT_FIELDS


def batch_field_names() -> tuple[str, ...]:
    """Return the names of the fields of a batch's record."""
    return _BATCH_FIELDS


def by_name(names: Sequence[str], values: Sequence[Value]) -> dict[str, bytes | int]:
    """Return the fields that are set, by name, of the values that read.lua and read_batch.lua answer."""
    return {name: value for name, value in zip((*names, _EXPIRY), values, strict=True) if value is not None}


def read_text(value: Value) -> str:
    """Decode text that a script wrote, which may hold lone surrogates."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def write_json(value: Any) -> bytes:  # noqa: ANN401  # what JSON can hold
    """Encode an argument as JSON that cjson decodes, which refuses lone surrogates that are escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def write_header(task: Task) -> bytes:
    """Encode the header of a task, as the scripts that may rebuild its record take it."""
    return write_json(task_header.encode_without_ref(task))


def write_usage(usage: Usage | None) -> bytes | None:
    """Encode a usage."""
    return None if usage is None else write_json(asdict(usage))


def write_charge(charge: Charge) -> bytes:
    """Encode the amounts of a charge by the names of the sums that they belong to; an unknown amount is omitted."""
    return write_json(amounts_of(charge))


def amounts_of(charge: Charge) -> dict[str, int]:
    """Return the amounts of a charge by the names of the sums that they belong to; an unknown amount is omitted."""
    amounts: dict[str, int] = {} if charge.usage is None else asdict(charge.usage)
    if charge.cost_nanos is not None:
        amounts["cost"] = charge.cost_nanos
    if charge.estimated_tokens:
        amounts |= {"estimated_tokens": charge.estimated_tokens, "estimated_cost": charge.estimated_nanos}
    return amounts


def write_provider_error(error: ProviderError | None) -> bytes | None:
    """Encode the provider's error; lib/task_record.lua puts it into the attempts. None where it names nothing."""
    fields = {} if error is None else _set_fields(error)
    return write_json(fields) if fields else None


def write_response(kind: Kind, answer: Answer) -> bytes | None:
    """Encode the response of an answer; its text is stored beside it."""
    response = registration_of(kind).views.stored_response(answer)
    return None if response is None else write_json(response)


def write_metadata(metadata: Mapping[str, str] | None) -> bytes | None:
    """Encode a batch's metadata."""
    return None if metadata is None else write_json(dict(metadata))


def write_webhook(webhook: Webhook | None) -> str | None:
    """Encode a webhook."""
    return None if webhook is None else webhook.encode()


def write_delivery(delivery: WebhookDelivery) -> bytes:
    """Encode a delivery of an event."""
    return write_json(_set_fields(delivery))


def _set_fields(value: ProviderError | WebhookDelivery) -> dict[str, Any]:
    return {name: each for name, each in asdict(value).items() if each is not None}


def read_notification(tenant: str, batch_id: str, event: Sequence[Any]) -> WebhookNotification:
    """Read the event of a batch from lib/announce.lua: its webhook, when it was due, and how its tasks ended."""
    fields = named(event)
    marks = read_text(fields["marks"])
    is_truncated = TRUNCATED_MARK in marks
    marks = marks.replace(TRUNCATED_MARK, MARKS[TaskStatus.COMPLETED])
    counts = {status.value: marks.count(mark) for status, mark in MARKS.items()}
    webhook = Webhook.decode(read_text(fields["webhook"]))
    kind = webhook.event_of(counts, is_truncated=is_truncated)
    return WebhookNotification(tenant, batch_id, webhook.url, int(fields["due"]), counts, kind)


def read_record(ref: TaskRef, fields: Mapping[str, bytes | int]) -> TaskRecord:
    """Decode a task's record from its fields by name, its expiry included."""

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


def read_batch(tenant: str, batch_id: str, fields: Mapping[str, bytes | int]) -> BatchRecord:
    """Decode a batch's record from its fields by name, its expiry included."""

    def text(name: str) -> str | None:
        return read_text(fields[name]) if name in fields else None

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    metadata, webhook, delivery = text("metadata"), text("webhook"), text("delivery")
    tokens = [each.name for each in dataclass_fields(Usage)]
    return BatchRecord(
        tenant=tenant,
        batch_id=batch_id,
        size=number("size"),
        created_ms=number("created"),
        deadline_ms=number("deadline"),
        expires_ms=number(_EXPIRY),
        metadata=None if metadata is None else json.loads(metadata),
        is_accepted="accepted" in fields,
        retry=text("retry"),
        webhook=None if webhook is None else Webhook.decode(webhook),
        delivery=WebhookDelivery() if delivery is None else _read_delivery(json.loads(delivery)),
        usage=Usage(**{name: number(name) for name in tokens}) if "prompt_tokens" in fields else None,
        cost_nanos=number("cost") if "cost" in fields else None,
        estimated_tokens=number("estimated_tokens"),
        estimated_nanos=number("estimated_cost"),
    )


def _read_delivery(fields: Mapping[str, Any]) -> WebhookDelivery:
    status, code = fields["status"], fields.get("code")
    return WebhookDelivery(
        **{
            **fields,
            "status": WebhookDeliveryStatus(status),
            "code": WebhookDeliveryCode(code) if code else None,
        }
    )


def _read_attempts(text: str) -> tuple[Attempt, ...]:
    """Decode the JSON objects that lib/task_record.lua writes, separated by commas."""
    return tuple(map(_read_attempt, json.loads(f"[{text}]")))


def _read_attempt(fields: Mapping[str, Any]) -> Attempt:
    code, provider_error = fields.get("code"), fields.get("provider_error")
    return Attempt(
        fields["started_ms"],
        fields.get("ended_ms"),
        FailureCode(code) if code else None,
        ProviderError(**provider_error) if provider_error else None,
    )


def _read_usage(text: str | None) -> Usage | None:
    return Usage(**json.loads(text)) if text else None


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
