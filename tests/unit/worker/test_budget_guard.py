"""Tasks of a tenant whose budget is used up wait for the next day, unpaid."""

from collections.abc import Callable

import pytest

from common.domain.budgets import Budgets
from common.domain.task import FailureCode, TaskStatus, WaitingOn
from common.worker.budget_guard import RECHECK_SECONDS
from common.worker.message import RESEND_RECEIVES, OutcomeKind
from tests.unit.worker.stage import EPOCH_MS, Stage, answers

BUDGETS = Budgets(tokens=100)


def seconds_to_midnight() -> float:
    return (86_400_000 - EPOCH_MS % 86_400_000) / 1000


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(chance=0.0)


def test_over_the_budget_no_call_starts_and_the_task_waits(stage: Stage) -> None:
    stage.budgets.used = 100

    assert stage.work(stage.delivery("prompt", budgets=BUDGETS)) == ["prompt"]

    ending = stage.journal.endings["prompt"]
    assert (ending.kind, ending.waiting_on) == (OutcomeKind.HELD, WaitingOn.BUDGET)
    assert stage.queue.waits == {"prompt": pytest.approx(min(RECHECK_SECONDS, seconds_to_midnight()), abs=1)}
    assert stage.model.calls == []


def test_a_waiting_task_is_sent_anew_and_runs_when_the_budget_allows_it(stage: Stage) -> None:
    stage.budgets.used = 100
    delivery = stage.delivery("prompt", budgets=BUDGETS, receives=RESEND_RECEIVES)
    assert stage.work(delivery) == []
    assert list(stage.queue.sent) == ["prompt"]

    stage.budgets.used = 0
    stage.pass_time(900)
    assert stage.work(stage.delivery("prompt", budgets=BUDGETS)) == []

    record = stage.record("prompt")
    assert record is not None
    assert record.status is TaskStatus.COMPLETED
    assert len(record.attempts) == 1


def test_a_task_waits_no_longer_than_its_deadline(stage: Stage) -> None:
    stage.budgets.used = 100

    stage.work(stage.delivery("prompt", budgets=BUDGETS, deadline_in=60))

    assert stage.queue.waits == {"prompt": pytest.approx(60, abs=1)}


def test_at_its_deadline_a_waiting_task_fails_unpaid(stage: Stage) -> None:
    stage.budgets.used = 100
    delivery = stage.delivery("prompt", budgets=BUDGETS, deadline_in=60)
    stage.work(delivery)

    stage.pass_time(60)
    assert stage.work(delivery) == []

    record = stage.record("prompt")
    assert record is not None
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.DEADLINE_EXCEEDED)
    assert stage.model.calls == []


def test_many_calls_ask_once_a_second_and_others_never(stage: Stage) -> None:
    stage.work(*(stage.delivery(f"p{n}", budgets=BUDGETS) for n in range(5)), stage.delivery("free"))
    assert stage.budgets.asked == 1

    stage.pass_time(1)
    stage.work(stage.delivery("q", budgets=BUDGETS))
    assert stage.budgets.asked == 2

    stage.work(stage.delivery("free too"))
    assert stage.budgets.asked == 2


def test_a_budget_that_is_used_up_meanwhile_holds_what_has_not_started(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(concurrency=1, chance=0.0)
    stage.model.scripts["first"] = answers(seconds=5)

    stage.loop.call_later(2, lambda: setattr(stage.budgets, "used", 100))
    stage.work(stage.delivery("first", budgets=BUDGETS), stage.delivery("second", budgets=BUDGETS))

    assert stage.model.calls == ["first"]
    assert stage.journal.endings["second"].waiting_on is WaitingOn.BUDGET


def test_where_nobody_can_say_no_call_starts(stage: Stage) -> None:
    stage.budgets.is_down = True

    assert stage.work(stage.delivery("prompt", budgets=BUDGETS), stage.delivery("free")) == ["prompt"]

    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNAVAILABLE
    assert stage.model.calls == ["free"]
