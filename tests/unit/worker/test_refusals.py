"""What becomes of a task that the provider refuses for its rate: alone, or as one of many."""

from collections.abc import Callable

import pytest

from common.domain.errors import ModelBusy
from common.domain.task import FailureCode, TaskRecord, TaskStatus
from common.worker.backoff import RECEIVE_CAP_SECONDS
from common.worker.message import OutcomeKind
from common.worker.refusals import MOST_REFUSALS
from tests.unit.worker.stage import Stage, answers, raises

type MakeStage = Callable[..., Stage]

MAX_ATTEMPTS = 3
LONG = 30 * 86_400.0


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """Set up a provider that refuses this prompt, and no other."""
    stage = make_stage(max_attempts=MAX_ATTEMPTS)
    stage.model.scripts["refused"] = raises(ModelBusy(FailureCode.RATE_LIMITED), seconds=0.1)
    stage.flows.are_others_refused = False
    return stage


def deliver(stage: Stage, times: int) -> list[float]:
    """Deliver the refused prompt when it is due, so many times, and return its waits. Each copy is received once."""
    waits = []
    for _ in range(times):
        back = stage.work(stage.delivery("refused", deadline_in=LONG))
        waits.append(stage.queue.waits["refused"] if back else 0.0)
        stage.pass_time(waits[-1])
    return waits


def recorded(stage: Stage) -> TaskRecord:
    record = stage.record("refused")
    assert record is not None
    return record


def test_a_task_that_is_refused_alone_waits_ever_longer_by_itself(stage: Stage) -> None:
    waits = deliver(stage, 12)

    assert waits == pytest.approx([min(2.0**turn, RECEIVE_CAP_SECONDS) for turn in range(12)])
    assert recorded(stage).attempts == ()


def test_only_its_first_refusal_may_hold_others_up(stage: Stage) -> None:
    deliver(stage, 5)

    assert [refusal.is_known for refusal in stage.flows.refusals] == [False, True, True, True, True]


def test_after_many_refusals_each_one_is_an_attempt_and_the_last_one_fails_the_task(stage: Stage) -> None:
    deliver(stage, MOST_REFUSALS)
    assert (recorded(stage).status, recorded(stage).attempts) == (TaskStatus.QUEUED, ())

    deliver(stage, MAX_ATTEMPTS)

    record = recorded(stage)
    assert (record.status, record.code, record.last_code) == (
        TaskStatus.FAILED,
        FailureCode.ATTEMPTS_EXHAUSTED,
        FailureCode.RATE_LIMITED,
    )
    assert [attempt.code for attempt in record.attempts] == [FailureCode.RATE_LIMITED] * MAX_ATTEMPTS
    assert all(attempt.ended_ms for attempt in record.attempts)
    assert len(stage.model.calls) == MOST_REFUSALS + MAX_ATTEMPTS
    assert record.kept_bytes, "it can be retried"


def test_refusals_that_others_share_are_never_attempts(stage: Stage) -> None:
    stage.flows.are_others_refused = True

    deliver(stage, 10 * MOST_REFUSALS)
    assert (recorded(stage).status, recorded(stage).attempts) == (TaskStatus.QUEUED, ())

    stage.model.scripts["refused"] = answers()
    deliver(stage, 1)
    assert recorded(stage).status is TaskStatus.COMPLETED


def test_refusals_that_others_share_do_not_count_with_those_of_its_own(stage: Stage) -> None:
    deliver(stage, MOST_REFUSALS - 1)
    stage.flows.are_others_refused = True
    deliver(stage, 100)
    stage.flows.are_others_refused = False
    deliver(stage, 1)

    assert recorded(stage).attempts == ()
    deliver(stage, 1)
    assert len(recorded(stage).attempts) == 1


def test_where_nobody_can_say_whether_others_are_refused_nothing_counts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raises_unavailable(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(stage.flows, "refused", raises_unavailable)

    deliver(stage, 2 * MOST_REFUSALS)

    assert recorded(stage).attempts == ()


def test_the_provider_is_obeyed_where_it_asks_for_more_than_the_tasks_own_wait(stage: Stage) -> None:
    stage.model.scripts["refused"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=100))

    assert deliver(stage, 8)[-1] == pytest.approx(128)
    assert deliver(stage, 1)[-1] == pytest.approx(256)


def test_a_task_that_is_refused_alone_leaves_its_tenant_all_its_calls_at_a_time(stage: Stage) -> None:
    deliver(stage, 10)
    stage.work(*(stage.delivery(f"answered {number}") for number in range(60)))
    deliver(stage, 1)
    stage.model.started_at.clear()

    stage.work(*(stage.delivery(f"more {number}") for number in range(10)))

    assert len(set(stage.model.started_at.values())) == 1


# ─── Too large for the provider ───────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_is_refused_and_larger_than_the_providers_minute_fails_at_once(stage: Stage) -> None:
    stage.flow.record_headers("gpt-test", {"x-ratelimit-limit-tokens": "30000"})

    stage.work(stage.delivery("refused", expected_tokens=40_000))

    assert stage.journal.endings["refused"].kind is OutcomeKind.FAILED
    assert recorded(stage).code is FailureCode.REQUEST_TOO_LARGE
    assert stage.flows.refusals == [], "nobody else has to wait for it"


@pytest.mark.parametrize("expected_tokens", [20_000, 35_000], ids=["smaller", "about as large"])
def test_a_call_that_may_fit_into_the_providers_minute_waits(stage: Stage, expected_tokens: int) -> None:
    stage.flow.record_headers("gpt-test", {"x-ratelimit-limit-tokens": "30000"})

    stage.work(stage.delivery("refused", expected_tokens=expected_tokens))

    assert stage.journal.endings["refused"].kind is OutcomeKind.RATE_LIMITED


def test_a_call_that_is_larger_than_the_providers_minute_and_answered_is_no_fault(stage: Stage) -> None:
    stage.flow.record_headers("gpt-test", {"x-ratelimit-limit-tokens": "30000"})

    assert stage.work(stage.delivery("answered", expected_tokens=100_000)) == []

    assert stage.journal.endings["answered"].kind is OutcomeKind.COMPLETED
