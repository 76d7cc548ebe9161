"""What the deliveries of one invocation share: slots, time and order."""

from collections.abc import Callable

import pytest

from common.domain.errors import ModelBusy
from common.domain.task import FailureCode, TaskStatus, WaitingOn
from common.worker.message import OutcomeKind
from tests.unit.worker.stage import STOP_AT, WORKER_TIMEOUT, Stage, answers, drips, raises

type MakeStage = Callable[..., Stage]


def test_a_batch_is_answered_side_by_side_and_acknowledged(stage: Stage) -> None:
    prompts = [f"prompt {n}" for n in range(10)]

    back = stage.work(*(stage.delivery(prompt) for prompt in prompts))

    assert back == []
    assert stage.loop.now < 2, "ten calls of a second each took one second"
    records = [stage.record(prompt) for prompt in prompts]
    assert [record and record.answer and record.answer.text for record in records] == ["fine"] * 10
    assert stage.queue.waits == {}


def test_no_more_calls_run_at_once_than_there_are_slots_and_they_start_in_order(make_stage: MakeStage) -> None:
    stage = make_stage(concurrency=3)
    prompts = [f"prompt {n}" for n in range(7)]

    assert stage.work(*(stage.delivery(prompt) for prompt in prompts)) == []

    assert stage.model.calls == prompts
    assert list(stage.model.started_at.values()) == [0, 0, 0, 1, 1, 1, 2]


def test_the_next_call_begins_while_the_last_answer_is_recorded(make_stage: MakeStage) -> None:
    # GIVEN one slot, and a store that takes no answer for a while
    stage = make_stage(concurrency=1)
    stage.store.goes_down("complete", until=3.5)

    assert stage.work(stage.delivery("first"), stage.delivery("second")) == []

    assert stage.model.started_at == {"first": 0, "second": 1}
    assert [stage.journal.endings[name].kind for name in ("first", "second")] == [OutcomeKind.COMPLETED] * 2


def test_after_a_refusal_the_next_call_waits_for_the_pause(make_stage: MakeStage) -> None:
    stage = make_stage(concurrency=1)
    stage.model.scripts = {"first": raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=5.0))}

    assert stage.work(stage.delivery("first"), stage.delivery("second")) == ["first"]

    assert stage.model.started_at == {"first": 0, "second": 6}


def test_suspects_run_after_the_rest_and_each_alone(stage: Stage) -> None:
    deliveries = [
        stage.delivery("suspect 1", receives=3),
        stage.delivery("fresh 1"),
        stage.delivery("suspect 2", receives=7),
        stage.delivery("fresh 2", receives=2),
    ]

    assert stage.work(*deliveries) == []

    assert stage.model.calls == ["fresh 1", "fresh 2", "suspect 1", "suspect 2"]
    assert stage.model.beside["fresh 1"] == {"fresh 2"}
    assert stage.model.beside["suspect 1"] == set()
    assert stage.model.beside["suspect 2"] == set()


def test_a_call_that_could_not_end_before_the_soft_stop_is_not_started(make_stage: MakeStage) -> None:
    # GIVEN one slot, and calls of 110 seconds of which two fit before the soft stop
    stage = make_stage(concurrency=1)
    prompts = ["first", "second", "third"]
    stage.model.scripts = dict.fromkeys(prompts, answers(seconds=110))

    back = stage.work(*(stage.delivery(prompt) for prompt in prompts))

    # THEN the third was neither claimed nor asked, and comes back at once
    assert back == ["third"]
    assert stage.queue.waits == {"third": 0}
    assert stage.journal.endings["third"].kind is OutcomeKind.UNSTARTED
    assert stage.record("third") is None
    assert stage.loop.now == 220


def test_the_first_calls_of_an_invocation_may_start_however_slow_the_last_ones_were(stage: Stage) -> None:
    stage.model.scripts["slow"] = answers(seconds=119)
    assert stage.work(stage.delivery("slow")) == []

    assert stage.work(stage.delivery("one"), stage.delivery("two"), remaining=60) == []

    assert stage.model.beside["one"] == {"two"}


def test_with_no_time_left_nothing_is_started(stage: Stage) -> None:
    assert stage.work(stage.delivery("late"), stage.delivery("suspect", receives=5), remaining=8.5) == ["late"]

    assert stage.model.calls == []
    assert stage.queue.waits == {"late": 0}
    assert stage.queue.sent == {"suspect": 0}


def test_at_the_soft_stop_a_running_call_is_released_with_its_attempt_spent(stage: Stage) -> None:
    # GIVEN an invocation that is shorter than the call's own time
    stage.model.scripts["long"] = drips()

    back = stage.work(stage.delivery("long"), stage.delivery("short"), remaining=100)

    # THEN the call ends with the margin still to go, and the task is queued again
    assert back == ["long"]
    assert stage.loop.now == 92
    assert stage.queue.waits == {"long": 0}
    record = stage.record("long")
    assert record is not None
    assert (record.status, len(record.attempts)) == (TaskStatus.QUEUED, 1)
    assert record.last_code is FailureCode.WORKER_STOPPED
    assert record.waiting_on is WaitingOn.CAPACITY
    assert stage.journal.endings["long"].kind is OutcomeKind.STOPPED


def test_what_still_waits_for_a_slot_at_the_soft_stop_comes_back_unclaimed(make_stage: MakeStage) -> None:
    stage = make_stage(concurrency=1)
    stage.model.scripts["long"] = drips()

    assert stage.work(stage.delivery("long"), stage.delivery("next"), remaining=100) == ["long", "next"]

    assert stage.model.calls == ["long"]
    assert stage.record("next") is None
    assert stage.queue.waits["next"] == 0


def test_a_suspect_behind_long_calls_comes_back_unclaimed(stage: Stage) -> None:
    stage.model.scripts["long"] = answers(seconds=60)

    stage.work(stage.delivery("suspect", receives=4), stage.delivery("long"), remaining=100)

    assert stage.queue.sent == {"suspect": 0}
    assert stage.record("suspect") is None


def test_no_lease_outlives_the_invocation_by_more_than_five_seconds(stage: Stage) -> None:
    # GIVEN an invocation that loses the store while it answers, and so leaves its lease behind
    stage.model.scripts["prompt"] = drips()
    stage.store.goes_down("release", since=80)
    stage.work(stage.delivery("prompt"), remaining=100)
    stage.store.goes_down()

    # WHEN the message is delivered again
    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    # THEN it is busy for as long as the first worker might have lived
    assert stage.journal.endings["prompt"].kind is OutcomeKind.BUSY
    ended_at = stage.loop.now
    assert stage.queue.waits["prompt"] == pytest.approx(100 + 5 - ended_at, abs=0.01)
    assert ended_at > STOP_AT - WORKER_TIMEOUT + 100


def test_a_second_invocation_of_the_same_environment_works_like_the_first(stage: Stage) -> None:
    assert stage.work(stage.delivery("one")) == []
    assert stage.work(stage.delivery("two")) == []

    assert stage.model.calls == ["one", "two"]


def test_a_key_that_never_comes_does_not_hold_the_invocation(stage: Stage) -> None:
    stage.model.key_takes = 1000

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.loop.now == STOP_AT
    assert stage.record("prompt") is None


def test_a_store_that_hangs_at_the_claim_does_not_hold_the_invocation(stage: Stage) -> None:
    stage.store.claim_takes = 1000

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.loop.now == STOP_AT
    assert stage.model.calls == []


def test_without_its_key_the_worker_claims_nothing(stage: Stage) -> None:
    stage.model.has_key = False

    assert stage.work(stage.delivery("one"), stage.delivery("two", receives=5)) == ["one", "two"]

    assert stage.queue.waits == {"one": 1, "two": 16}
    assert stage.record("one") is None
    assert {ending.kind for ending in stage.journal.endings.values()} == {OutcomeKind.UNAVAILABLE}
