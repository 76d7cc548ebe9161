"""The way of one delivery, each branch of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest

from common.domain.errors import (
    ModelBusy,
    ModelCrashed,
    ModelError,
    ModelFailed,
    ModelRefused,
    StoreUnavailable,
    Unavailable,
)
from common.domain.spending import Charge
from common.domain.task import Answer, FailureCode, ProviderError, TaskRecord, TaskStatus, WaitingOn
from common.domain.transitions import Claim, EndOutcome, Lease, Release
from common.worker.failures import PAUSE_SECONDS
from common.worker.message import OutcomeKind, ReceivedMessage
from tests.unit.worker.stage import LEASE_SECONDS, STOP_AT, USAGE, WORKER_TIMEOUT, Script, Stage, answers, drips, raises

type MakeStage = Callable[..., Stage]


def recorded(stage: Stage, prompt: str = "prompt") -> TaskRecord:
    record = stage.record(prompt)
    assert record is not None
    return record


# ─── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_recorded_with_its_usage_and_the_time_of_its_call(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers("yes ", seconds=3, pieces=3)

    assert stage.work(stage.delivery("prompt")) == []

    record = recorded(stage)
    assert record.status is TaskStatus.COMPLETED
    assert record.answer == Answer("yes yes yes ", "stop", USAGE)
    ending = stage.journal.endings["prompt"]
    assert (ending.kind, ending.attempt, ending.usage) == (OutcomeKind.COMPLETED, 1, USAGE)
    assert ending.call_seconds == pytest.approx(3)
    assert ending.task_id == record.ref.task_id


def test_the_time_of_a_call_leaves_out_its_writing_and_its_cost_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = stage.store.complete

    async def priced(_: Callable[[str], None]) -> Answer:
        await asyncio.sleep(3)
        return Answer("yes", "stop", USAGE, cost_nanos=123)

    async def complete_slowly(lease: Lease, answer: Answer, charge: Charge | None) -> EndOutcome:
        await asyncio.sleep(2)
        return await complete(lease, answer, charge)

    stage.pass_time(10)
    stage.model.scripts["prompt"] = priced
    monkeypatch.setattr(stage.store, "complete", complete_slowly)

    stage.work(stage.delivery("prompt"))

    ending = stage.journal.endings["prompt"]
    assert ending.call_seconds == pytest.approx(3)
    assert ending.cost_nanos == 123


def test_the_time_of_a_failed_call_is_told(stage: Stage) -> None:
    stage.pass_time(10)
    stage.model.scripts["prompt"] = raises(ModelFailed(FailureCode.SERVER_ERROR), seconds=4)

    stage.work(stage.delivery("prompt"))

    assert stage.journal.endings["prompt"].call_seconds == pytest.approx(4)


def test_a_duplicate_of_an_ended_task_is_acknowledged_without_a_call(stage: Stage) -> None:
    stage.work(stage.delivery("prompt"))

    assert stage.work(stage.delivery("prompt")) == []

    assert stage.model.calls == ["prompt"]
    assert stage.journal.endings["prompt"].kind is OutcomeKind.DUPLICATE


def test_two_copies_in_one_batch_cost_one_call_and_the_other_comes_back_when_the_lease_is_over(stage: Stage) -> None:
    copy = replace(stage.delivery("prompt"), message_id="copy")

    assert stage.work(stage.delivery("prompt"), copy) == ["copy"]

    assert stage.model.calls == ["prompt"]
    assert stage.queue.waits == {"copy": LEASE_SECONDS}


def test_an_answer_that_comes_second_is_acknowledged_and_the_first_stays(stage: Stage) -> None:
    # GIVEN another worker's late answer, which arrives while we ask
    other = Lease(stage.task("prompt"), "somebody", 1_000, 3)

    async def overtaken(_: Callable[[str], None]) -> Answer:
        await stage.store.complete(other, Answer("first", "stop"))
        return Answer("second", "stop")

    stage.model.scripts["prompt"] = overtaken

    assert stage.work(stage.delivery("prompt")) == []

    assert recorded(stage).answer == Answer("first", "stop")
    assert stage.journal.endings["prompt"].kind is OutcomeKind.DUPLICATE


# ─── The provider's errors ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_limit_refunds_the_attempt_and_waits_as_asked(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=20))

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.queue.waits == {"prompt": 22}, "what was asked, and up to a tenth more"
    record = recorded(stage)
    assert (record.status, len(record.attempts)) == (TaskStatus.QUEUED, 0)
    assert record.waiting_on is WaitingOn.RATE_LIMIT
    assert record.last_code is FailureCode.RATE_LIMITED
    assert stage.journal.endings["prompt"].kind is OutcomeKind.RATE_LIMITED


def test_a_rate_limit_waits_longer_each_time_so_that_twenty_receives_last(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=1))
    waits = []
    for receives in (1, 2, 5, 11, 20):
        stage.pass_time(60)
        stage.work(stage.delivery("prompt", receives=receives))
        waits += [*stage.queue.waits.values(), *stage.queue.sent.values()]

    assert waits == [1.1, 2, 16, 900, 900], "also where a copy does the waiting"


def test_a_failed_call_costs_an_attempt_and_waits_longer_each_time(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelFailed(FailureCode.SERVER_ERROR))

    assert stage.work(stage.delivery("prompt")) == ["prompt"]
    assert stage.queue.waits == {"prompt": 1}
    record = recorded(stage)
    assert (record.status, len(record.attempts)) == (TaskStatus.QUEUED, 1)
    assert record.waiting_on is WaitingOn.PROVIDER
    assert stage.journal.endings["prompt"].kind is OutcomeKind.RETRIED

    assert stage.work(stage.delivery("prompt", receives=2)) == ["prompt"]
    assert stage.queue.waits == {"prompt": 2}


def test_a_failed_call_waits_as_the_provider_asks(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelFailed(FailureCode.SERVER_ERROR, retry_after=40))

    stage.work(stage.delivery("prompt"))

    assert stage.queue.waits == {"prompt": 44}


def test_the_last_attempt_fails_the_task_and_acknowledges(make_stage: MakeStage) -> None:
    stage = make_stage(max_attempts=2)
    stage.model.scripts["prompt"] = raises(ModelFailed(FailureCode.STREAM_CUT))
    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.work(stage.delivery("prompt")) == []

    record = recorded(stage)
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.ATTEMPTS_EXHAUSTED)
    assert record.last_code is FailureCode.STREAM_CUT
    ending = stage.journal.endings["prompt"]
    assert (ending.kind, ending.code) == (OutcomeKind.FAILED, FailureCode.ATTEMPTS_EXHAUSTED)
    assert len(stage.model.calls) == 2


def test_a_refusal_fails_the_task_at_once_with_its_code(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelRefused(FailureCode.CONTEXT_LENGTH_EXCEEDED))

    assert stage.work(stage.delivery("prompt")) == []

    record = recorded(stage)
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.CONTEXT_LENGTH_EXCEEDED)
    assert stage.journal.endings["prompt"].code is FailureCode.CONTEXT_LENGTH_EXCEEDED


def test_a_key_that_is_gone_by_the_time_of_the_call_refunds_the_attempt(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(Unavailable())

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    record = recorded(stage)
    assert (record.attempts, record.waiting_on) == ((), WaitingOn.PROVIDER)
    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNAVAILABLE


# ─── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_drip_that_outlives_the_time_of_a_call_is_a_timeout(stage: Stage) -> None:
    stage.model.scripts["prompt"] = drips()

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.loop.now == 120
    record = recorded(stage)
    assert (len(record.attempts), record.last_code) == (1, FailureCode.TIMEOUT)


def test_the_model_knows_when_its_call_will_be_cut(stage: Stage) -> None:
    stage.work(stage.delivery("patient"), stage.delivery("urgent", deadline_in=10))
    stage.work(stage.delivery("late"), remaining=WORKER_TIMEOUT - STOP_AT + 20)

    left = {prompt: ends_at - stage.model.started_at[prompt] for prompt, ends_at in stage.model.ends_at.items()}
    assert left == {"patient": pytest.approx(120), "urgent": pytest.approx(10), "late": pytest.approx(20)}


def test_a_task_whose_deadline_has_passed_is_never_asked(stage: Stage) -> None:
    stage.pass_time(11)

    assert stage.work(stage.delivery("prompt", deadline_in=10)) == []

    assert stage.model.calls == []
    assert recorded(stage).code is FailureCode.DEADLINE_EXCEEDED
    assert stage.journal.endings["prompt"].kind is OutcomeKind.FAILED


def test_a_call_is_cut_at_the_deadline_of_its_task(stage: Stage) -> None:
    stage.model.scripts["prompt"] = drips()

    assert stage.work(stage.delivery("prompt", deadline_in=10)) == []

    assert stage.loop.now < 12
    record = recorded(stage)
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEADLINE_EXCEEDED)
    assert record.last_code is FailureCode.TIMEOUT
    assert stage.journal.endings["prompt"].kind is OutcomeKind.FAILED


def test_attempts_that_died_with_their_workers_are_counted_by_the_next_claim(make_stage: MakeStage) -> None:
    # GIVEN a task whose only attempt ended with its worker
    stage = make_stage(max_attempts=1)
    stage.runner.run(stage.store.claim(Lease(stage.task("prompt"), "dead worker", 1_000, 1)))
    stage.pass_time(2)

    assert stage.work(stage.delivery("prompt", receives=2)) == []

    assert stage.model.calls == []
    assert recorded(stage).code is FailureCode.ATTEMPTS_EXHAUSTED


# ─── The store's failures ─────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_store_no_call_is_made(stage: Stage) -> None:
    stage.store.goes_down("claim")

    assert stage.work(stage.delivery("prompt", receives=2)) == ["prompt"]

    assert stage.model.calls == []
    assert stage.queue.waits == {"prompt": 2}
    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNAVAILABLE


def test_where_neither_a_claim_nor_its_way_back_is_heard_of_the_message_comes_back(stage: Stage) -> None:
    stage.store.goes_down("claim", "release")

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNAVAILABLE


async def hangs(*_: object, **__: object) -> NoReturn:
    await asyncio.sleep(10_000)
    raise AssertionError


@pytest.mark.parametrize(
    ("script", "method"),
    [
        (answers(), "complete"),
        (raises(ModelRefused(FailureCode.CONTENT_POLICY)), "fail"),
        (raises(ModelFailed(FailureCode.SERVER_ERROR)), "release"),
    ],
)
def test_a_write_that_hangs_does_not_hold_the_invocation(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, script: Script, method: str
) -> None:
    stage.model.scripts["prompt"] = script
    monkeypatch.setattr(stage.store, method, hangs)

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNRECORDED
    assert STOP_AT < stage.loop.now < WORKER_TIMEOUT


def test_a_claim_and_its_way_back_that_hang_do_not_hold_the_invocation(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.store, "claim", hangs)
    monkeypatch.setattr(stage.store, "release", hangs)

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNAVAILABLE
    assert STOP_AT < stage.loop.now < WORKER_TIMEOUT


def test_a_pause_that_cannot_be_told_leaves_time_for_the_release(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.model.scripts["prompt"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=20))
    monkeypatch.setattr(stage.flows, "refused", hangs)

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.journal.endings["prompt"].kind is OutcomeKind.RATE_LIMITED
    assert PAUSE_SECONDS <= stage.loop.now < STOP_AT
    assert recorded(stage).status is TaskStatus.QUEUED


def test_an_answer_in_hand_is_written_as_soon_as_the_store_is_back(stage: Stage) -> None:
    stage.store.goes_down("complete", until=60)

    assert stage.work(stage.delivery("prompt")) == []

    assert recorded(stage).status is TaskStatus.COMPLETED
    assert stage.model.calls == ["prompt"]
    assert stage.loop.now == pytest.approx(60, abs=1)


def test_an_answer_that_the_store_never_takes_comes_back_when_its_lease_is_over(stage: Stage) -> None:
    stage.store.goes_down("complete")

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNRECORDED
    assert stage.loop.now < 300, "the invocation is not killed over it"
    assert stage.loop.now + stage.queue.waits["prompt"] == pytest.approx(305)


@pytest.mark.parametrize(
    "error",
    [ModelFailed(FailureCode.TIMEOUT), ModelBusy(FailureCode.RATE_LIMITED), ModelRefused(FailureCode.FORBIDDEN)],
)
def test_a_failure_that_the_store_never_takes_comes_back_when_its_lease_is_over(stage: Stage, error: Exception) -> None:
    stage.store.goes_down("release", "fail")
    stage.model.scripts["prompt"] = raises(error)

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.loop.now + stage.queue.waits["prompt"] == pytest.approx(305)
    assert recorded(stage).status is TaskStatus.PROCESSING


# ─── Lost leases ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_is_cancelled_while_it_runs_is_aborted_and_acknowledged_next_time(stage: Stage) -> None:
    async def cancelled(on_text: Callable[[str], None]) -> Answer:
        await stage.store.cancel([stage.task("prompt").ref])
        return await drips()(on_text)

    stage.model.scripts["prompt"] = cancelled

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.loop.now < 3, "the next note of progress ends the call"
    assert stage.queue.waits == {"prompt": 5}
    assert stage.journal.endings["prompt"].kind is OutcomeKind.LOST
    assert stage.work(stage.delivery("prompt")) == []
    assert recorded(stage).status is TaskStatus.CANCELLED
    assert stage.model.calls == ["prompt"]


def test_a_lost_lease_is_left_alone(stage: Stage) -> None:
    async def cancelled(on_text: Callable[[str], None]) -> Answer:
        await stage.store.cancel([stage.task("prompt").ref])
        return await drips()(on_text)

    stage.model.scripts["prompt"] = cancelled

    stage.work(stage.delivery("prompt"))

    assert stage.store.asked == ["claim", "progress", "charge"], "neither released nor failed: it is another's"


@pytest.mark.parametrize("error", [ModelFailed(FailureCode.TIMEOUT), ModelBusy(FailureCode.RATE_LIMITED)])
def test_a_lease_that_is_gone_at_its_release_leaves_the_decision_to_the_next_claim(
    stage: Stage, error: Exception
) -> None:
    async def cancelled(_: Callable[[str], None]) -> Answer:
        await stage.store.cancel([stage.task("prompt").ref])
        raise error

    stage.model.scripts["prompt"] = cancelled

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.queue.waits == {"prompt": 5}
    assert stage.journal.endings["prompt"].kind is OutcomeKind.LOST
    assert recorded(stage).status is TaskStatus.CANCELLED


def test_a_refusal_of_a_task_that_another_worker_holds_is_left_to_that_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = stage.store.claim
    leases: list[Lease] = []

    async def claim_and_tell(lease: Lease) -> Claim:
        leases.append(lease)
        return await claim(lease)

    async def taken(_: Callable[[str], None]) -> Answer:
        await stage.store.release(leases[0], Release(waiting_on=WaitingOn.CAPACITY))
        await claim(Lease(stage.task("prompt"), "somebody", 60_000, 3))
        raise ModelRefused(FailureCode.CONTENT_POLICY)

    monkeypatch.setattr(stage.store, "claim", claim_and_tell)
    stage.model.scripts["prompt"] = taken

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.queue.waits == {"prompt": 5}
    assert stage.journal.endings["prompt"].kind is OutcomeKind.LOST
    assert recorded(stage).status is TaskStatus.PROCESSING


def test_the_text_that_a_content_filter_let_through_is_kept(stage: Stage) -> None:
    async def filtered(on_text: Callable[[str], None]) -> Answer:
        on_text("Half an ")
        on_text("answer")
        raise ModelRefused(FailureCode.CONTENT_POLICY)

    stage.model.scripts["prompt"] = filtered

    assert stage.work(stage.delivery("prompt")) == []

    assert (recorded(stage).code, recorded(stage).partial) == (FailureCode.CONTENT_POLICY, "Half an answer")


def test_a_refusal_of_a_task_that_has_ended_meanwhile_is_acknowledged(stage: Stage) -> None:
    async def cancelled(_: Callable[[str], None]) -> Answer:
        await stage.store.cancel([stage.task("prompt").ref])
        raise ModelRefused(FailureCode.CONTENT_POLICY)

    stage.model.scripts["prompt"] = cancelled

    assert stage.work(stage.delivery("prompt")) == []

    assert stage.journal.endings["prompt"].kind is OutcomeKind.DUPLICATE


# ─── Messages that cannot be worked, and faults of ours ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("no json", OutcomeKind.UNREADABLE),
        ("[1]", OutcomeKind.UNREADABLE),
        ('{"v": 1}', OutcomeKind.UNREADABLE),
        ('{"v": 3}', OutcomeKind.TOO_NEW),
    ],
)
def test_a_message_that_cannot_be_worked_stays_away_longer_each_time(
    stage: Stage, body: str, kind: OutcomeKind
) -> None:
    assert stage.work(ReceivedMessage("odd", "receipt", 2, body), stage.delivery("prompt")) == ["odd"]
    assert stage.queue.waits == {"odd": 2}
    assert stage.journal.endings["odd"].kind is kind

    stage.work(ReceivedMessage("odd", "receipt", 6, body))
    assert stage.queue.waits == {"odd": 32}


def test_an_exception_that_no_rule_knows_is_a_failed_attempt_and_leaves_the_others_alone(stage: Stage) -> None:
    fault = ZeroDivisionError("division by zero")
    stage.model.scripts["broken"] = raises(fault)

    assert stage.work(stage.delivery("broken"), stage.delivery("sound")) == ["broken"]

    assert recorded(stage, "sound").status is TaskStatus.COMPLETED
    record, ending = recorded(stage, "broken"), stage.journal.endings["broken"]
    assert record.status is TaskStatus.QUEUED, "its lease is given back"
    assert [attempt.code for attempt in record.attempts] == [FailureCode.UNREADABLE_ANSWER]
    assert (ending.kind, ending.error) == (OutcomeKind.RETRIED, fault)
    assert stage.queue.waits == {"broken": 1}, "as after any failed attempt"


def test_an_exception_that_no_rule_knows_ends_a_task_whose_attempts_are_used_up_and_is_told(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(max_attempts=1)
    fault = ModelCrashed(KeyError("answer"))
    stage.model.scripts["broken"] = raises(fault)

    assert stage.work(stage.delivery("broken")) == []

    record, ending = recorded(stage, "broken"), stage.journal.endings["broken"]
    assert (record.code, record.last_code) == (FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.UNREADABLE_ANSWER)
    assert (ending.kind, ending.error) == (OutcomeKind.FAILED, fault.error)


def test_a_fault_outside_of_the_call_comes_back_when_its_lease_is_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = ZeroDivisionError()

    async def broken(*_: object) -> NoReturn:
        raise fault

    monkeypatch.setattr(stage.store, "complete", broken)

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    ending = stage.journal.endings["prompt"]
    assert (ending.kind, ending.error) == (OutcomeKind.CRASHED, fault)
    assert stage.queue.waits == {"prompt": LEASE_SECONDS}


def test_a_fault_before_the_claim_comes_back_with_a_back_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Lease) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.store, "claim", broken)

    assert stage.work(stage.delivery("prompt", receives=4)) == ["prompt"]

    assert stage.queue.waits == {"prompt": 8}
    assert stage.journal.endings["prompt"].kind is OutcomeKind.CRASHED


def test_a_timeout_that_is_not_ours_is_a_fault_and_not_the_end_of_our_time(stage: Stage) -> None:
    fault = TimeoutError()
    stage.model.scripts["prompt"] = raises(fault)

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.journal.endings["prompt"].error is fault


# ─── A failed task keeps its request ──────────────────────────────────────────────────────────────────────────────────


def kept(stage: Stage) -> str | None:
    return stage.runner.run(stage.store.load_requests([stage.task("prompt").ref]))[0]


def test_a_task_that_is_refused_keeps_its_request(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelRefused(FailureCode.BAD_REQUEST))
    delivery = stage.delivery("prompt")

    stage.work(delivery)

    assert kept(stage) == delivery.body


def test_a_task_whose_last_attempt_fails_keeps_its_request(make_stage: MakeStage) -> None:
    stage = make_stage(max_attempts=1)
    stage.model.scripts["prompt"] = raises(ModelFailed(FailureCode.SERVER_ERROR))
    delivery = stage.delivery("prompt")

    assert stage.work(delivery) == []

    assert kept(stage) == delivery.body


def test_a_task_that_a_read_has_failed_takes_its_request_from_its_message(stage: Stage) -> None:
    delivery = stage.delivery("prompt", deadline_in=10)
    stage.runner.run(stage.store.claim(Lease(stage.task("prompt", deadline_in=10), "dead", 1000, 3)))
    stage.pass_time(11)
    assert recorded(stage).code is FailureCode.DEADLINE_EXCEEDED
    assert kept(stage) is None

    assert stage.work(delivery) == []

    assert stage.journal.endings["prompt"].kind is OutcomeKind.DUPLICATE
    assert kept(stage) == delivery.body


def test_an_answered_task_keeps_nothing(stage: Stage) -> None:
    stage.work(stage.delivery("prompt"))
    stage.work(stage.delivery("prompt"))

    assert kept(stage) is None


def test_where_the_request_is_not_taken_the_message_comes_back_until_it_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.model.scripts["prompt"] = raises(ModelRefused(FailureCode.BAD_REQUEST))

    async def refuse(*_: object) -> NoReturn:
        raise StoreUnavailable

    monkeypatch.setattr(stage.store, "save_request", refuse)
    assert stage.work(stage.delivery("prompt")) == ["prompt"]
    assert stage.journal.endings["prompt"].kind is OutcomeKind.FAILED
    monkeypatch.undo()

    assert stage.work(stage.delivery("prompt", receives=2)) == []

    assert stage.model.calls == ["prompt"]
    assert kept(stage) is not None


# ─── What the provider said ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [ModelRefused, ModelFailed])
def test_a_failed_attempt_keeps_what_the_provider_said(stage: Stage, kind: type[ModelError]) -> None:
    error = kind(FailureCode.BAD_REQUEST)
    error.provider_error = ProviderError("invalid_value", "tools[0]", "req_1")
    stage.model.scripts["prompt"] = raises(error)

    stage.work(stage.delivery("prompt"))

    [attempt] = recorded(stage).attempts
    assert attempt.provider_error == error.provider_error


def test_an_attempt_that_brings_the_answer_says_nothing_of_the_one_before(stage: Stage) -> None:
    error = ModelFailed(FailureCode.SERVER_ERROR)
    error.provider_error = ProviderError(request_id="req_1")
    stage.model.scripts["prompt"] = raises(error)
    stage.work(stage.delivery("prompt"))
    stage.model.scripts["prompt"] = answers()

    stage.work(stage.delivery("prompt"))

    assert [attempt.provider_error for attempt in recorded(stage).attempts] == [error.provider_error, None]
