"""Show records as the API does: a field appears as soon as it has a value, and keeps its name and type."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, overload

from common.api.missing import EXPIRED, NOT_FOUND
from common.domain.spending import Spend, usd_of
from common.domain.task import (
    TRUNCATED,
    Answer,
    Attempt,
    BatchRecord,
    FailureCode,
    ProviderError,
    TaskRecord,
    TaskStatus,
    Usage,
)
from common.kinds.registry import public_model, registration_of
from common.webhooks.model import Webhook, WebhookDelivery

type Body = dict[str, Any]

ENDED: Final = "ended"
"""The status of a batch whose every task has ended; how, the counts say."""

SENTENCES: Final[dict[FailureCode, str]] = {
    FailureCode.RATE_LIMITED: "The model rejected the call because of its rate limit.",
    FailureCode.PAUSED: "The model was paused after a rate limit error.",
    FailureCode.TIMEOUT: "The model did not finish its answer in the time of one call.",
    FailureCode.CONNECTION: "The model could not be reached, or the connection broke.",
    FailureCode.SERVER_ERROR: "The model reported an internal error.",
    FailureCode.STREAM_CUT: "The model's answer stopped in the middle.",
    FailureCode.UNREADABLE_ANSWER: "The model's answer does not follow its protocol.",
    FailureCode.NO_CONTENT: "The model's answer had no text and no tool calls, only content such as reasoning.",
    FailureCode.WORKER_STOPPED: "The worker's time ran out during the call.",
    FailureCode.WORKER_LOST: "The worker of the task stopped without a report.",
    FailureCode.CANCELLED: "The task was cancelled during the call.",
    FailureCode.BAD_REQUEST: "The model refused the request as malformed; look at its messages and params.",
    FailureCode.UNAUTHORIZED: "The model refused the service's key; contact the operator of this service.",
    FailureCode.FORBIDDEN: "The service's key may not use this model.",
    FailureCode.REDIRECTED: "The provider's address redirects, which is not followed; contact the operator of this "
    "service.",
    FailureCode.MODEL_NOT_FOUND: "The provider has no such model.",
    FailureCode.REQUEST_TOO_LARGE: "The provider does not take a request of this size, or its prompt and expected "
    "answer are more tokens than a minute allows.",
    FailureCode.CONTEXT_LENGTH_EXCEEDED: "Prompt and answer together do not fit the model's context.",
    FailureCode.ANSWER_TOO_LARGE: "The answer is too large to be returned. It was paid for; ask for a shorter one.",
    FailureCode.CONTENT_POLICY: "The provider's content filter refused the prompt or its answer.",
    FailureCode.QUOTA_EXHAUSTED: "The provider's account has no quota left; contact the operator of this service.",
    FailureCode.UNKNOWN_WORKFLOW: "The service no longer has a workflow of this name.",
    FailureCode.INVALID_INPUT: "The input is not what the workflow takes.",
    FailureCode.CHAIN_FAILED: "The workflow's own code raised an exception, of the type in `type`.",
    FailureCode.ATTEMPTS_EXHAUSTED: "Every allowed attempt failed; `last_code` says how the last one did.",
    FailureCode.DEADLINE_EXCEEDED: "The deadline passed before the task had an answer.",
    FailureCode.DEAD_LETTER: "The task's message was delivered too often without a result.",
    FailureCode.NOT_ACCEPTED: "The call that submitted the task was not accepted with 202.",
}
"""What each code means, for a person."""


TEXT_FIELDS: Final = frozenset(
    {
        *("result", "partial_result", "finish_reason", "truncated", "usage", "tool_calls", "cost", "refusal"),
        "response",
    }
)
"""The fields of a task that need its text to be read."""

ON_REQUEST: Final = frozenset({"response"})
"""Those of them that are shown only where `fields` names them: they repeat what other fields show."""

_LONG_FIELDS: Final = frozenset(
    {"result", "partial_result", "tool_calls", "finish_reason", "error", "refusal", "response"}
)
"""Those of them that are as long as the model or its provider likes."""

TASK_FIELDS: Final = frozenset(
    {
        *("task_id", "batch_id", "custom_id", "status", "progress", "model", "attempts", "waiting_on", "error"),
        *("retried_as", "created_at", "started_at", "ended_at", "deadline_at", "expires_at"),
        *TEXT_FIELDS,
    }
)
"""Every field that a task may show."""

BATCH_FIELDS: Final = frozenset(
    {
        *("batch_id", "status", "progress", "size", "counts", "metadata", "usage", "cost", "estimated", "tasks"),
        *("webhook", "created_at", "deadline_at", "expires_at"),
    }
)
"""Every field that a batch may show; `next` comes with `tasks`."""

_MOST_COUNTS: Final = 32
"""Counts in one object of a provider's usage; more are no counts of tokens."""

ALWAYS: Final = frozenset({"task_id", "batch_id", "status", "next"})
"""What is shown whatever fields were asked for, so far as it is there."""


def chosen(body: Body, fields: frozenset[str] | None) -> Body:
    """Keep the fields that were asked for; None asks for all."""
    return body if fields is None else {name: value for name, value in body.items() if name in fields | ALWAYS}


def show_too_large(body: Body) -> Body:
    """Show of a task whose text does not fit an answer what is always short, and an error in place of its text."""
    short = {name: value for name, value in body.items() if name in TASK_FIELDS - _LONG_FIELDS}
    code = FailureCode.ANSWER_TOO_LARGE
    return {**short, "error": {"code": code, "detail": SENTENCES[code]}}


def show_missing(task_id: str, status: str) -> Body:
    """Show an id of which there is no record."""
    return {"task_id": task_id, "status": status}


def show_answer(answer: Answer) -> Body:
    """Show those fields of an answer that are as long as the model or its provider likes."""
    calls = [call.encode() for call in answer.tool_calls]
    return {"result": answer.text, "finish_reason": answer.finish_reason, "tool_calls": calls}


def show_task(record: TaskRecord, fields: frozenset[str] | None = None) -> Body:
    """Show one task: those fields that have a value, and that were asked for.

    Without `fields` it shows all but those of ON_REQUEST. A completed task that has a text
    but no finish reason says so.
    """
    answer, views = record.answer, registration_of(record.kind).views
    has_text = answer is not None and views.HAS_TEXT
    usage = answer.usage if answer else record.failed_usage
    response = answer.response if answer else None
    body: Body = {
        "task_id": record.ref.task_id,
        "batch_id": record.ref.batch_id,
        "custom_id": record.custom_id,
        "status": record.status,
        "progress": record.progress,
        "model": public_model(record.kind, record.model),
        "attempts": [_show_attempt(attempt) for attempt in record.attempts],
        "waiting_on": record.waiting_on,
        "result": answer.text if answer and has_text else None,
        "tool_calls": [call.encode() for call in answer.tool_calls] if answer and answer.tool_calls else None,
        "finish_reason": answer.finish_reason if answer else None,
        "truncated": True if answer and answer.finish_reason == TRUNCATED else None,
        "refusal": answer.refusal if answer else None,
        "usage": _show_usage(usage, response) if usage else None,
        "cost": show_cost(answer.cost_nanos if answer else record.failed_cost_nanos),
        "partial_result": record.partial,
        "error": _error(record),
        "retried_as": record.retried_as,
        "created_at": time_of(record.created_ms),
        "started_at": time_of(record.started_ms),
        "ended_at": time_of(record.ended_ms),
        "deadline_at": time_of(record.deadline_ms),
        "expires_at": time_of(record.expires_ms),
    }
    if answer and response is not None and fields is not None and "response" in fields:
        body["response"] = views.full_response(response, answer.text)
    shown = _known(body) | ({"finish_reason": answer.finish_reason} if answer and has_text else {})
    return chosen(shown, fields)


def _show_usage(usage: Usage, response: Mapping[str, Any] | None) -> Body:
    """Show the counts that every answer has, and those that the provider gave beside them."""
    given = (response or {}).get("usage")
    counts = given if isinstance(given, dict) and len(given) <= _MOST_COUNTS else {}
    return {name: value for name, value in counts.items() if _is_count(value)} | asdict(usage)


def _is_count(value: object) -> bool:
    if isinstance(value, dict):
        return len(value) <= _MOST_COUNTS and all(each is None or _is_count(each) for each in value.values())
    return isinstance(value, int | float) and not isinstance(value, bool)


def show_batch(batch: BatchRecord, records: Sequence[TaskRecord | None], now_ms: int) -> Body:
    """Show a whole batch from the records of all its tasks, without the tasks themselves.

    `progress` is the mean over its tasks, of which an ended one counts 100 however it ended.
    """
    # A record that Redis has lost is rebuilt from its message, which after the deadline nobody will do any more.
    is_late = now_ms > batch.deadline_ms
    over = [record.status.is_terminal if record else is_late for record in records]
    percents = [100 if ended else record.progress if record else 0 for record, ended in zip(records, over, strict=True)]
    counts = Counter(record.status.value if record else status_in(batch, now_ms) for record in records)
    return {
        "batch_id": batch.batch_id,
        "status": status_of_all(records, lost_are_over=is_late),
        "progress": sum(percents) // batch.size,
        "size": batch.size,
        "counts": {name: counts[name] for name in (*TaskStatus, NOT_FOUND, EXPIRED)},
        "created_at": time_of(batch.created_ms),
        "deadline_at": time_of(batch.deadline_ms),
        "expires_at": time_of(batch.expires_ms),
        **({"metadata": batch.metadata} if batch.metadata is not None else {}),
        **({"usage": asdict(batch.usage)} if batch.usage else {}),
        **({"cost": show_cost(batch.cost_nanos)} if batch.cost_nanos is not None else {}),
        **({"estimated": estimated} if (estimated := show_estimated(batch)) else {}),
        **({"webhook": _show_webhook(batch.webhook, batch.delivery)} if batch.webhook else {}),
    }


def status_of_all(records: Sequence[TaskRecord | None], *, lost_are_over: bool) -> str:
    """Return the status of tasks together; those without a record are queued unless nobody waits for them any more."""
    statuses = {record.status for record in records if record}
    if None in records and not lost_are_over:
        statuses.add(TaskStatus.QUEUED)
    if all(status.is_terminal for status in statuses):
        return ENDED
    return TaskStatus.QUEUED.value if statuses == {TaskStatus.QUEUED} else TaskStatus.PROCESSING.value


def status_in(batch: BatchRecord, now_ms: int) -> str:
    """Return the status of those tasks of a batch that have no record."""
    # The batch outlives its tasks: it is kept for the same time after its deadline as each of them after its end.
    retention_ms = batch.expires_ms - batch.deadline_ms
    return EXPIRED if now_ms >= batch.created_ms + retention_ms else NOT_FOUND


@overload
def time_of(milliseconds: int) -> str: ...
@overload
def time_of(milliseconds: None) -> None: ...
@overload
def time_of(milliseconds: int | None) -> str | None: ...
def time_of(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339, in UTC, with milliseconds; None stays None."""
    if milliseconds is None:
        return None
    # Not from a float: 1.001 s would come out as 1.000.
    second, millisecond = divmod(milliseconds, 1000)
    return f"{_written(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=1024)
def _written(second: int) -> str:
    # The tasks of a batch have seven times each, and all within a few seconds of each other.
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()


def show_cost(nanos: int | None) -> Body | None:
    """Show an amount of money, as text so that no reader rounds it; None stays None."""
    return None if nanos is None else {"usd": usd_of(nanos)}


def show_estimated(sums: BatchRecord | Spend) -> Body | None:
    """Show how much of some sums Sluice had to estimate; None where nothing."""
    if not sums.estimated_tokens:
        return None
    return {"total_tokens": sums.estimated_tokens, "cost": show_cost(sums.estimated_nanos)}


def _show_webhook(webhook: Webhook, delivery: WebhookDelivery) -> Body:
    return _known(
        {
            "url": webhook.url,
            "events": list(webhook.events),
            "status": delivery.status,
            "attempts": delivery.attempts,
            "last_status_code": delivery.status_code,
            "last_error": delivery.code,
            "next_attempt_at": time_of(delivery.next_attempt_ms),
            "delivered_at": time_of(delivery.delivered_ms),
        }
    )


def _show_attempt(attempt: Attempt) -> Body:
    return _known(
        {
            "started_at": time_of(attempt.started_ms),
            "ended_at": time_of(attempt.ended_ms),
            "code": attempt.code,
            "provider_error": _show_provider_error(attempt.provider_error),
        }
    )


def _show_provider_error(error: ProviderError | None) -> Body | None:
    return None if error is None else _known(asdict(error))


def _known(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}


def _error(record: TaskRecord) -> Body | None:
    if record.code is None:
        return None
    error: Body = {"code": record.code, "detail": SENTENCES[record.code]}
    if record.last_code is not None:
        error["last_code"] = record.last_code
    if record.error_type is not None:
        error["type"] = record.error_type
    if record.attempts and (reported := _show_provider_error(record.attempts[-1].provider_error)):
        error["provider_error"] = reported
    return error
