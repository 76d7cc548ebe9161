"""The contract of complete, fail, dead_letter and cancel."""

from dataclasses import replace

import pytest

from common.domain.task import (
    Answer,
    Attempt,
    FailureCode,
    ProviderError,
    Task,
    TaskRecord,
    TaskRef,
    TaskStatus,
    ToolCall,
    ToolKind,
    Usage,
    WaitingOn,
)
from common.domain.transitions import CallReport, ClaimOutcome, EndOutcome, ProgressNote, Release, ReleaseOutcome
from common.kinds.chat.views import full_response
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    LEASE_MS,
    RETENTION_MS,
    START_MS,
    TENANT,
    Harness,
    lease_of,
    read_one,
    submitted,
)

ANSWER = Answer("To reach the other bank.", "stop", Usage(11, 7, 18))
TOOL_CALLS = (
    ToolCall("call_a", "weather", '{"city": "K\u00f6ln"}'),
    ToolCall("", "shell", "\ud83d ls\0", ToolKind.CUSTOM),
)
OTHER = Answer("It was a recession.", "length")


async def end(harness: Harness, task: Task, how: str) -> EndOutcome:
    match how:
        case "complete":
            outcome = await harness.store.complete(lease_of(task), ANSWER)
        case "fail":
            outcome = await harness.store.fail(lease_of(task), FailureCode.CONTENT_POLICY)
        case "dead_letter":
            outcome = await harness.store.dead_letter(task)
        case _:
            (outcome,) = await harness.store.cancel([task.ref])
    assert isinstance(outcome, EndOutcome)
    return outcome


async def processing(harness: Harness) -> Task:
    (task,) = await submitted(harness)
    await harness.store.claim(lease_of(task))
    await harness.store.progress([ProgressNote(task.ref, "owner-a", 60, "To reach", LEASE_MS)])
    await harness.advance(100)
    return task


async def test_an_answer_keeps_the_whole_response_of_the_provider_and_its_text_once(harness: Harness) -> None:
    task = await processing(harness)
    message = {"role": "assistant", "refusal": None, "tool_calls": [call.encode() for call in TOOL_CALLS]}
    response = {"id": "a", "x_unknown": {"\ud800": [1.5, None]}, "choices": [{"index": 0, "message": message}]}
    answer = Answer("Hello", "tool_calls", None, TOOL_CALLS, response=response)

    await harness.store.complete(lease_of(task), answer)

    record = await read_one(harness, task.ref)
    assert record.answer == answer
    assert record.answer is not None
    assert record.answer.response == response
    assert full_response(record.answer.response, "Hello")["choices"][0]["message"]["content"] == "Hello"


async def test_an_answer_keeps_the_refusal_of_the_model(harness: Harness) -> None:
    task = await processing(harness)

    await harness.store.complete(lease_of(task), Answer("", "stop", refusal="I cannot"))

    record = await read_one(harness, task.ref)
    assert record.answer == Answer("", "stop", refusal="I cannot")


async def test_a_failed_task_keeps_the_text_that_a_filter_let_through(harness: Harness) -> None:
    task = await processing(harness)
    report = CallReport(Usage(1, 2, 3), 5, text="Hello, wor\ud800")

    await harness.store.fail(lease_of(task), FailureCode.CONTENT_POLICY, report=report)

    record = await read_one(harness, task.ref)
    assert (record.partial, record.failed_usage) == ("Hello, wor\ud800", Usage(1, 2, 3))


@pytest.mark.parametrize("text", ["", "Let me look."])
async def test_an_answer_keeps_its_tool_calls_with_and_without_text(harness: Harness, text: str) -> None:
    task = await processing(harness)
    answer = Answer(text, "tool_calls", None, TOOL_CALLS)

    await harness.store.complete(lease_of(task), answer)

    assert (await read_one(harness, task.ref)).answer == answer


async def test_a_completed_task_has_its_answer(harness: Harness) -> None:
    task = await processing(harness)

    assert await harness.store.complete(lease_of(task), ANSWER) is EndOutcome.ENDED

    assert await read_one(harness, task.ref) == TaskRecord(
        ref=task.ref,
        status=TaskStatus.COMPLETED,
        progress=100,
        attempts=(Attempt(START_MS, START_MS + 100),),
        created_ms=START_MS,
        deadline_ms=task.deadline_ms,
        expires_ms=START_MS + 100 + RETENTION_MS,
        model="gpt-test",
        started_ms=START_MS,
        updated_ms=START_MS + 100,
        ended_ms=START_MS + 100,
        answer=ANSWER,
    )


async def test_a_failed_task_has_its_codes(harness: Harness) -> None:
    task = await processing(harness)

    outcome = await harness.store.fail(lease_of(task), FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.TIMEOUT)

    assert outcome is EndOutcome.ENDED
    record = await read_one(harness, task.ref)
    assert (record.status, record.progress, record.partial) == (TaskStatus.FAILED, 60, None)
    assert (record.code, record.last_code) == (FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.TIMEOUT)
    assert (record.ended_ms, record.expires_ms) == (START_MS + 100, START_MS + 100 + RETENTION_MS)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("complete", None),
        ("fail", FailureCode.CONTENT_POLICY),
        ("cancel", FailureCode.CANCELLED),
    ],
)
async def test_the_end_of_a_task_ends_its_running_attempt(harness: Harness, how: str, code: FailureCode | None) -> None:
    task = await processing(harness)

    await end(harness, task, how)

    assert (await read_one(harness, task.ref)).attempts == (Attempt(START_MS, START_MS + 100, code),)


async def test_an_attempt_ends_as_its_call_did_and_not_as_its_task(harness: Harness) -> None:
    task = await processing(harness)

    await harness.store.fail(lease_of(task), FailureCode.DEADLINE_EXCEEDED, FailureCode.TIMEOUT)

    assert (await read_one(harness, task.ref)).attempts == (Attempt(START_MS, START_MS + 100, FailureCode.TIMEOUT),)


@pytest.mark.parametrize("how", ["dead_letter", "cancel", "deadline"])
async def test_an_attempt_whose_worker_died_ended_with_its_lease(harness: Harness, how: str) -> None:
    task = await processing(harness)
    await harness.advance(DEADLINE_IN_MS if how == "deadline" else LEASE_MS + 1)

    if how != "deadline":
        await end(harness, task, how)

    record = await read_one(harness, task.ref)
    assert record.status.is_terminal
    assert record.attempts == (Attempt(START_MS, START_MS + LEASE_MS, FailureCode.WORKER_LOST),)


async def test_a_late_answer_ends_its_attempt_well(harness: Harness) -> None:
    task = await processing(harness)
    await harness.advance(LEASE_MS)

    await harness.store.complete(lease_of(task), ANSWER)

    assert (await read_one(harness, task.ref)).attempts == (Attempt(START_MS, START_MS + 100 + LEASE_MS),)


@pytest.mark.parametrize("how", ["complete", "fail", "cancel"])
async def test_an_end_repeated_by_the_same_owner_is_answered_the_same(harness: Harness, how: str) -> None:
    task = await processing(harness)
    assert await end(harness, task, how) is EndOutcome.ENDED
    before = await read_one(harness, task.ref)
    await harness.advance(LEASE_MS)

    assert await end(harness, task, how) is EndOutcome.ENDED
    assert await read_one(harness, task.ref) == before


async def test_a_dead_letter_that_comes_again_is_answered_the_same(harness: Harness) -> None:
    (task,) = await submitted(harness)
    assert await end(harness, task, "dead_letter") is EndOutcome.ENDED
    before = await read_one(harness, task.ref)
    await harness.advance(DEADLINE_IN_MS)

    assert await end(harness, task, "dead_letter") is EndOutcome.ENDED
    assert await read_one(harness, task.ref) == before


@pytest.mark.parametrize("second", ["complete", "fail", "dead_letter", "cancel"])
@pytest.mark.parametrize("first", ["complete", "fail", "cancel"])
async def test_a_terminal_state_never_changes(harness: Harness, first: str, second: str) -> None:
    task = await processing(harness)
    await end(harness, task, first)
    before = await read_one(harness, task.ref)
    await harness.advance(DEADLINE_IN_MS)

    expected = EndOutcome.ENDED if first == second else EndOutcome.ALREADY
    assert await end(harness, task, second) is expected
    assert await harness.store.complete(lease_of(task, "owner-b"), OTHER) is EndOutcome.ALREADY
    assert await harness.store.fail(lease_of(task, "owner-b"), FailureCode.TIMEOUT) is EndOutcome.ALREADY
    assert (await harness.store.claim(lease_of(task, "owner-b"))).outcome is ClaimOutcome.ENDED
    assert await read_one(harness, task.ref) == before


async def test_the_first_result_wins_whoever_owns_the_task(harness: Harness) -> None:
    # GIVEN a worker whose lease is over, and another that has taken the task
    task = await processing(harness)
    await harness.advance(LEASE_MS)
    await harness.store.claim(lease_of(task, "owner-b"))

    # WHEN both bring an answer THEN the first stays
    assert await harness.store.complete(lease_of(task, "owner-a"), ANSWER) is EndOutcome.ENDED
    assert await harness.store.complete(lease_of(task, "owner-b"), OTHER) is EndOutcome.ALREADY
    assert (await read_one(harness, task.ref)).answer == ANSWER


async def test_an_answer_is_taken_from_an_owner_that_has_released(harness: Harness) -> None:
    task = await processing(harness)
    await harness.store.release(lease_of(task), Release(refund=True, waiting_on=WaitingOn.CAPACITY))

    assert await harness.store.complete(lease_of(task), ANSWER) is EndOutcome.ENDED
    record = await read_one(harness, task.ref)
    assert (record.status, record.waiting_on) == (TaskStatus.COMPLETED, None)
    assert record.attempts == (Attempt(START_MS + 100, START_MS + 100),), "when it began went with its refund"


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("complete", TaskStatus.COMPLETED),
        ("fail", TaskStatus.FAILED),
        ("dead_letter", TaskStatus.FAILED),
    ],
)
async def test_an_end_rebuilds_a_lost_record_and_its_batch(harness: Harness, how: str, status: TaskStatus) -> None:
    task = await processing(harness)
    batch = await harness.store.read_batch(TENANT, task.ref.batch_id)
    await harness.lose(task.ref)
    await harness.lose_batch(TENANT, task.ref.batch_id)

    assert await end(harness, task, how) is EndOutcome.ENDED

    record = await read_one(harness, task.ref)
    assert (record.status, record.created_ms, record.model) == (status, START_MS, "gpt-test")
    assert (record.ended_ms, record.expires_ms) == (START_MS + 100, START_MS + 100 + RETENTION_MS)
    assert len(record.attempts) == (1 if how == "complete" else 0)
    rebuilt = await harness.store.read_batch(TENANT, task.ref.batch_id)
    assert replace(rebuilt, usage=None) == replace(batch, is_accepted=False)  # which no message knows
    assert rebuilt.usage == (ANSWER.usage if how == "complete" else None)


@pytest.mark.parametrize("how", ["complete", "fail", "dead_letter"])
async def test_nothing_is_rebuilt_of_a_task_that_has_had_its_time(harness: Harness, how: str) -> None:
    task = await processing(harness)
    await harness.advance(DEADLINE_IN_MS + RETENTION_MS)

    assert await end(harness, task, how) is EndOutcome.ALREADY
    assert await harness.store.read([task.ref]) == [None]


async def test_a_cancel_rebuilds_nothing(harness: Harness) -> None:
    (task,) = await submitted(harness)
    await harness.lose(task.ref)

    assert await end(harness, task, "cancel") is EndOutcome.MISSING
    assert await harness.store.read([task.ref]) == [None]


@pytest.mark.parametrize("lease_is_over", [False, True])
async def test_only_the_owner_can_fail_a_task(harness: Harness, *, lease_is_over: bool) -> None:
    task = await processing(harness)
    await harness.advance(LEASE_MS if lease_is_over else 0)
    before = await read_one(harness, task.ref)

    assert await harness.store.fail(lease_of(task, "owner-b"), FailureCode.TIMEOUT) is EndOutcome.LOST
    assert await read_one(harness, task.ref) == before
    assert await harness.store.fail(lease_of(task, "owner-a"), FailureCode.TIMEOUT) is EndOutcome.ENDED


async def test_an_owner_that_has_released_cannot_fail_the_task(harness: Harness) -> None:
    task = await processing(harness)
    await harness.store.release(lease_of(task), Release(waiting_on=WaitingOn.PROVIDER))

    assert await harness.store.fail(lease_of(task), FailureCode.TIMEOUT) is EndOutcome.LOST
    assert (await read_one(harness, task.ref)).status is TaskStatus.QUEUED


async def test_a_dead_letter_ends_a_queued_task_with_the_code_it_is_given(harness: Harness) -> None:
    tasks = await submitted(harness, 2)

    assert await harness.store.dead_letter(tasks[0]) is EndOutcome.ENDED
    assert await harness.store.dead_letter(tasks[1], FailureCode.NOT_ACCEPTED) is EndOutcome.ENDED

    records = await harness.store.read([task.ref for task in tasks])
    assert [record.status for record in records] == [TaskStatus.FAILED, TaskStatus.FAILED]
    assert [record.code for record in records] == [FailureCode.DEAD_LETTER, FailureCode.NOT_ACCEPTED]


async def test_a_dead_letter_waits_for_a_live_lease_and_ends_one_that_is_over(harness: Harness) -> None:
    task = await processing(harness)
    assert await harness.store.dead_letter(task) is EndOutcome.LOST
    assert (await read_one(harness, task.ref)).status is TaskStatus.PROCESSING

    await harness.advance(LEASE_MS)

    assert await harness.store.dead_letter(task) is EndOutcome.ENDED
    assert (await read_one(harness, task.ref)).code is FailureCode.DEAD_LETTER


async def test_a_cancel_ends_queued_and_running_tasks_and_tells_of_each(harness: Harness) -> None:
    queued, running, done = await submitted(harness, 3)
    await harness.store.claim(lease_of(running))
    await harness.store.complete(lease_of(done), ANSWER)
    unknown = TaskRef(TENANT, queued.ref.batch_id, 9)

    outcomes = await harness.store.cancel([done.ref, queued.ref, unknown, running.ref, queued.ref])

    assert outcomes == [
        EndOutcome.ALREADY,
        EndOutcome.ENDED,
        EndOutcome.MISSING,
        EndOutcome.ENDED,
        EndOutcome.ENDED,
    ]
    records = await harness.store.read([queued.ref, running.ref])
    assert [record.status for record in records] == [TaskStatus.CANCELLED] * 2
    assert [record.code for record in records] == [None, None]
    assert [record.ended_ms for record in records] == [START_MS, START_MS]
    assert await harness.store.progress([ProgressNote(running.ref, "owner-a", 50, "late", LEASE_MS)]) == [False]


async def test_a_cancel_keeps_the_code_it_is_given(harness: Harness) -> None:
    (task,) = await submitted(harness)

    assert await harness.store.cancel([task.ref], FailureCode.NOT_ACCEPTED) == [EndOutcome.ENDED]
    assert (await read_one(harness, task.ref)).code is FailureCode.NOT_ACCEPTED


@pytest.mark.parametrize("how", ["cancel", "dead_letter"])
async def test_past_the_deadline_a_task_has_failed_already(harness: Harness, how: str) -> None:
    task = await processing(harness)
    await harness.advance(DEADLINE_IN_MS)

    assert await end(harness, task, how) is EndOutcome.ALREADY
    record = await read_one(harness, task.ref)
    assert (record.code, record.ended_ms) == (FailureCode.DEADLINE_EXCEEDED, task.deadline_ms)


async def test_an_answer_just_after_the_deadline_is_still_the_first_result(harness: Harness) -> None:
    task = await processing(harness)
    await harness.advance(DEADLINE_IN_MS)

    assert await harness.store.complete(lease_of(task), ANSWER) is EndOutcome.ENDED
    assert (await read_one(harness, task.ref)).status is TaskStatus.COMPLETED


# ─── What the provider said ───────────────────────────────────────────────────────────────────────────────────────────

ERRORS = [
    ProviderError("invalid_value", "messages[0].content", "req_1"),
    ProviderError(code="500"),
    ProviderError(param="tools[0].function-name"),
    ProviderError(request_id="req.1-2"),
]


@pytest.mark.parametrize("error", ERRORS)
async def test_an_attempt_keeps_what_the_provider_said_of_its_failure(harness: Harness, error: ProviderError) -> None:
    [task] = await submitted(harness)
    report = CallReport(error=error)
    for owner, refund in (("a", False), ("b", True)):
        await harness.store.claim(lease_of(task, owner))
        await harness.store.release(
            lease_of(task, owner),
            Release(refund=refund, code=FailureCode.SERVER_ERROR, waiting_on=WaitingOn.PROVIDER, report=report),
        )
    await harness.store.claim(lease_of(task, "c"))

    await harness.store.fail(lease_of(task, "c"), FailureCode.BAD_REQUEST, report=report)

    attempts = (await read_one(harness, task.ref)).attempts
    assert [attempt.code for attempt in attempts] == [FailureCode.SERVER_ERROR, FailureCode.BAD_REQUEST]
    assert [attempt.provider_error for attempt in attempts] == [error, error]
    assert all(attempt.ended_ms is not None for attempt in attempts)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("code", [FailureCode.TIMEOUT, None])
async def test_an_attempt_that_has_ended_stays_as_it_is_when_its_task_ends_later(
    harness: Harness, error: ProviderError, code: FailureCode | None
) -> None:
    tasks = await submitted(harness, 3)
    for task in tasks:
        await harness.store.claim(lease_of(task))
        await harness.store.release(
            lease_of(task), Release(code=code, waiting_on=WaitingOn.PROVIDER, report=CallReport(error=error))
        )
    before = [(await read_one(harness, task.ref)).attempts for task in tasks]

    await harness.store.cancel([tasks[0].ref])
    await harness.store.dead_letter(tasks[1])
    await harness.advance(DEADLINE_IN_MS)

    assert [(await read_one(harness, task.ref)).attempts for task in tasks] == before
    assert before[0][0].provider_error == error


async def test_the_last_attempt_keeps_what_the_provider_said(harness: Harness) -> None:
    [task] = await submitted(harness)
    lease = replace(lease_of(task), max_attempts=1)
    await harness.store.claim(lease)

    outcome = await harness.store.release(
        lease, Release(code=FailureCode.SERVER_ERROR, waiting_on=WaitingOn.PROVIDER, report=CallReport(error=ERRORS[0]))
    )

    record = await read_one(harness, task.ref)
    assert outcome is ReleaseOutcome.EXHAUSTED
    assert (record.code, record.last_code) == (FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.SERVER_ERROR)
    assert record.attempts[-1].provider_error == ERRORS[0]
