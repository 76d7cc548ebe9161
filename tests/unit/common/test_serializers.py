"""Test the serialization of records."""

from dataclasses import replace

import pytest

from common.api.serializers import (
    BATCH_FIELDS,
    ENDED,
    SENTENCES,
    TASK_FIELDS,
    show_batch,
    show_task,
    status_of_all,
    time_of,
)
from common.domain.task import (
    Answer,
    Attempt,
    BatchRecord,
    FailureCode,
    ProviderError,
    TaskRecord,
    TaskRef,
    TaskStatus,
    ToolCall,
    ToolKind,
    Usage,
    WaitingOn,
    new_batch_id,
)

BATCH = new_batch_id(1, bytes(16))
DEADLINE_MS = 2_000
QUEUED = TaskRecord(
    ref=TaskRef("acme", BATCH, 7),
    status=TaskStatus.QUEUED,
    progress=0,
    attempts=(),
    created_ms=1_700_000_000_001,
    deadline_ms=1_700_000_060_001,
    expires_ms=1_700_086_460_001,
    model="m",
)
COMPLETED = replace(
    QUEUED,
    status=TaskStatus.COMPLETED,
    progress=100,
    attempts=(
        Attempt(1_700_000_001_000, 1_700_000_001_500, FailureCode.TIMEOUT),
        Attempt(1_700_000_002_000, 1_700_000_002_500),
    ),
    custom_id="mine",
    started_ms=1_700_000_001_000,
    ended_ms=1_700_000_002_500,
    answer=Answer("An answer", "stop", Usage(1, 2, 3)),
)


def test_a_queued_task_shows_what_it_waits_for() -> None:
    assert show_task(replace(QUEUED, waiting_on=WaitingOn.CAPACITY)) == {
        "task_id": f"{BATCH}-7",
        "batch_id": BATCH,
        "status": "queued",
        "progress": 0,
        "model": "m",
        "attempts": [],
        "waiting_on": "capacity",
        "created_at": "2023-11-14T22:13:20.001Z",
        "deadline_at": "2023-11-14T22:14:20.001Z",
        "expires_at": "2023-11-15T22:14:20.001Z",
    }


def test_a_running_task_shows_the_text_so_far() -> None:
    body = show_task(replace(QUEUED, status=TaskStatus.PROCESSING, progress=40, partial=""))

    assert (body["status"], body["progress"], body["partial_result"]) == ("processing", 40, "")


def test_task_and_batch_show_what_they_cost_exactly() -> None:
    usage = Usage(1, 2, 3, 1)
    task = show_task(replace(COMPLETED, answer=Answer("a", "stop", usage, (), 12_345)))
    batch = BatchRecord("acme", BATCH, 1, 1, DEADLINE_MS, 3_000, usage=usage, cost_nanos=2_500_000_000)

    assert task["cost"] == {"usd": "0.000012345"}
    shown = show_batch(batch, [COMPLETED], 5)
    assert (shown["cost"], shown["usage"]["cached_tokens"]) == ({"usd": "2.50"}, 1)
    assert {"cost", "usage"}.isdisjoint(show_batch(replace(batch, usage=None, cost_nanos=None), [QUEUED], 5))


def test_a_batch_says_how_much_of_its_sums_is_an_estimate() -> None:
    batch = BatchRecord("acme", BATCH, 1, 1, DEADLINE_MS, 3_000, usage=Usage(1, 2, 3), cost_nanos=5)

    assert "estimated" not in show_batch(batch, [QUEUED], 5)
    shown = show_batch(replace(batch, estimated_tokens=2, estimated_nanos=4), [QUEUED], 5)
    assert shown["estimated"] == {"total_tokens": 2, "cost": {"usd": "0.000000004"}}


def test_a_failed_task_shows_what_its_last_call_was_billed() -> None:
    failed = replace(QUEUED, status=TaskStatus.FAILED, code=FailureCode.CONTENT_POLICY)
    billed = show_task(replace(failed, failed_usage=Usage(1, 2, 3), failed_cost_nanos=12_000))

    assert (billed["usage"]["total_tokens"], billed["cost"]) == (3, {"usd": "0.000012"})
    assert {"usage", "cost", "result"}.isdisjoint(show_task(failed))


def test_an_answer_shows_its_tool_calls_as_chat_completions_does() -> None:
    calls = (ToolCall("a", "weather", "{}"), ToolCall("b", "shell", "ls", ToolKind.CUSTOM))
    body = show_task(replace(COMPLETED, answer=Answer("", "tool_calls", None, calls)))

    assert (body["result"], body["finish_reason"]) == ("", "tool_calls")
    assert body["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        {"id": "b", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
    ]


RESPONSE = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 1,
        "prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "queue_time": 0.5,
        "tier": "standard",
    },
    "x_unknown": True,
}


def test_the_response_is_shown_whole_where_it_is_asked_for() -> None:
    record = replace(COMPLETED, answer=Answer("An answer", "stop", Usage(1, 2, 3), response=RESPONSE))

    assert "response" not in show_task(record)
    shown = show_task(record, frozenset({"response"}))
    assert shown.keys() == {"task_id", "batch_id", "status", "response"}
    message = {"role": "assistant", "content": "An answer"}
    assert shown["response"] == RESPONSE | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def test_usage_shows_every_count_that_the_provider_gave() -> None:
    record = replace(COMPLETED, answer=Answer("An answer", "stop", Usage(1, 2, 3), response=RESPONSE))

    assert show_task(record)["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "cached_tokens": 0,
        "prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "queue_time": 0.5,
    }


def test_a_refusal_is_shown_beside_an_empty_result() -> None:
    shown = show_task(replace(COMPLETED, answer=Answer("", "stop", refusal="I cannot")))

    assert (shown["status"], shown["result"], shown["refusal"]) == ("completed", "", "I cannot")


def test_a_completed_task_shows_its_answer() -> None:
    body = show_task(COMPLETED)

    assert body["result"] == "An answer"
    assert body["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": 0}
    assert "cost" not in body
    assert (body["custom_id"], body["progress"]) == ("mine", 100)
    assert body["attempts"] == [
        {"started_at": "2023-11-14T22:13:21.000Z", "ended_at": "2023-11-14T22:13:21.500Z", "code": "timeout"},
        {"started_at": "2023-11-14T22:13:22.000Z", "ended_at": "2023-11-14T22:13:22.500Z"},
    ]
    assert (body["started_at"], body["ended_at"]) == ("2023-11-14T22:13:21.000Z", "2023-11-14T22:13:22.500Z")
    assert not {"truncated", "error", "partial_result", "waiting_on"} & body.keys()


def test_a_completed_task_without_a_finish_reason_says_so() -> None:
    body = show_task(replace(COMPLETED, answer=Answer("An answer", None)))

    assert (body["result"], body["finish_reason"]) == ("An answer", None)
    assert "truncated" not in body
    assert "finish_reason" not in show_task(QUEUED)


def test_an_answer_cut_at_its_limit_says_so() -> None:
    assert show_task(replace(COMPLETED, answer=Answer("An", "length")))["truncated"] is True


def test_a_failed_task_says_why_in_words_too() -> None:
    failed = replace(
        QUEUED, status=TaskStatus.FAILED, code=FailureCode.ATTEMPTS_EXHAUSTED, last_code=FailureCode.TIMEOUT
    )

    assert show_task(failed)["error"] == {
        "code": "attempts_exhausted",
        "detail": "Every allowed attempt failed; `last_code` says how the last one did.",
        "last_code": "timeout",
    }


def test_a_failed_task_and_its_attempts_show_what_the_provider_said() -> None:
    said, silent = ProviderError("invalid_value", "tools[0]", "req_1"), ProviderError(request_id="req_2")
    attempts = (Attempt(1, 2, FailureCode.TIMEOUT), Attempt(3, 4, FailureCode.SERVER_ERROR, silent))
    failed = replace(QUEUED, status=TaskStatus.FAILED, code=FailureCode.BAD_REQUEST)

    shown = show_task(replace(failed, attempts=(*attempts, Attempt(5, 6, FailureCode.BAD_REQUEST, said))))

    told = {"code": "invalid_value", "param": "tools[0]", "request_id": "req_1"}
    assert [attempt.get("provider_error") for attempt in shown["attempts"]] == [None, {"request_id": "req_2"}, told]
    assert shown["error"]["provider_error"] == told
    assert "provider_error" not in show_task(replace(failed, attempts=attempts[:1]))["error"]
    assert "error" not in show_task(replace(QUEUED, attempts=attempts))


@pytest.mark.parametrize("code", FailureCode)
def test_every_code_has_a_sentence(code: FailureCode) -> None:
    assert SENTENCES[code].endswith(".")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_001, "1970-01-01T00:00:01.001Z"),
        (1_999, "1970-01-01T00:00:01.999Z"),
    ],
)
def test_times_are_utc_to_the_millisecond(milliseconds: int | None, text: str | None) -> None:
    assert time_of(milliseconds) == text


RUNNING = replace(QUEUED, status=TaskStatus.PROCESSING, progress=50)
FAILED = replace(QUEUED, status=TaskStatus.FAILED, progress=10)
CANCELLED = replace(QUEUED, status=TaskStatus.CANCELLED)


@pytest.mark.parametrize(
    ("records", "now_ms", "status", "progress"),
    [
        ([QUEUED, QUEUED], 0, "queued", 0),
        ([QUEUED, RUNNING], 0, "processing", 25),
        ([QUEUED, COMPLETED], 0, "processing", 50),
        ([COMPLETED, FAILED], 0, "ended", 100),
        ([CANCELLED, CANCELLED], 0, "ended", 100),
        ([COMPLETED, None], DEADLINE_MS, "processing", 50),
        ([COMPLETED, None], DEADLINE_MS + 1, "ended", 100),
        ([QUEUED, COMPLETED, COMPLETED], 0, "processing", 66),
    ],
)
def test_a_batch_is_the_sum_of_its_tasks(
    records: list[TaskRecord | None], now_ms: int, status: str, progress: int
) -> None:
    body = show_batch(BatchRecord("acme", BATCH, len(records), 1, DEADLINE_MS, 3_000), records, now_ms)

    assert (body["status"], body["progress"], body["size"]) == (status, progress, len(records))
    assert sum(body["counts"].values()) == len(records)


def test_a_batch_counts_every_status_even_those_of_no_task() -> None:
    batch = BatchRecord("acme", BATCH, 6, 1, DEADLINE_MS, 3_000)

    assert show_batch(batch, [QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, None], 0)["counts"] == {
        "queued": 1,
        "processing": 1,
        "completed": 1,
        "failed": 1,
        "cancelled": 1,
        "not_found": 1,
        "expired": 0,
    }


def test_a_task_of_a_batch_is_expired_when_its_retention_is_over_and_lost_before() -> None:
    batch = BatchRecord("acme", BATCH, 1, created_ms=1_000, deadline_ms=2_000, expires_ms=7_000)

    assert show_batch(batch, [None], 5_999)["counts"]["not_found"] == 1
    assert show_batch(batch, [None], 6_000)["counts"]["expired"] == 1


def test_every_field_that_is_shown_can_be_asked_for() -> None:
    failed = replace(FAILED, code=FailureCode.TIMEOUT, partial="", waiting_on=WaitingOn.CAPACITY)
    cut = replace(COMPLETED, answer=Answer("An", "length", Usage(1, 2, 3)))
    batch = BatchRecord("acme", BATCH, 1, 1, DEADLINE_MS, 3_000, {"a": "b"})

    assert show_task(failed).keys() | show_task(cut).keys() <= TASK_FIELDS
    assert show_batch(batch, [QUEUED], 0).keys() <= BATCH_FIELDS


RUNNING = replace(QUEUED, status=TaskStatus.PROCESSING)


@pytest.mark.parametrize(
    ("records", "before", "after"),
    [
        ([QUEUED, QUEUED], "queued", "queued"),
        ([QUEUED, COMPLETED], "processing", "processing"),
        ([RUNNING, COMPLETED], "processing", "processing"),
        ([COMPLETED, COMPLETED], ENDED, ENDED),
        ([QUEUED, None], "queued", "queued"),
        ([COMPLETED, None], "processing", ENDED),
        ([None, None], "queued", ENDED),
    ],
)
def test_a_lost_record_is_queued_until_nobody_can_rebuild_it(
    records: list[TaskRecord | None], before: str, after: str
) -> None:
    assert status_of_all(records, lost_are_over=False) == before
    assert status_of_all(records, lost_are_over=True) == after
