"""What is noted of a delivery: ids and codes, never a word of the caller's or the model's."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from common.domain.message import TaskMessage
from common.domain.task import FailureCode, Task, TaskRef, Usage
from common.runtime.telemetry import Telemetry
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.outcome_metrics import METRICS, OPERATOR_CODES, OutcomeMetrics
from common.worker.telemetry import WorkerTelemetry
from tests.invocation import Context
from tests.requests import chat

SECRET = "Attack at dawn"
ENV = {"POWERTOOLS_SERVICE_NAME": "worker", "POWERTOOLS_METRICS_NAMESPACE": "Sluice"}
CONTEXT = Context()
DELIVERY = ReceivedMessage("message-1", "receipt", 2, SECRET)


type Noted = Callable[[Callable[[WorkerTelemetry], None]], tuple[dict[str, Any], dict[str, Any]]]

TASK = Task(
    ref=TaskRef("acme", "0" * 36, 0),
    batch_size=1,
    created_ms=1_000_000,
    deadline_ms=9_000_000,
    retention_ms=3_600_000,
    model="gpt-test",
)
MESSAGE = TaskMessage(TASK, chat(SECRET))


@pytest.fixture
def noted(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Noted:
    """Return what writes to a journal and gives back its last log line and all its metrics."""

    def run(write: Callable[[WorkerTelemetry], None]) -> tuple[dict[str, Any], dict[str, Any]]:
        # A service of its own for each test: Powertools keeps one logger a service, and its stream with it.
        telemetry = Telemetry.from_env({**ENV, "POWERTOOLS_SERVICE_NAME": request.node.name})
        telemetry.metrics.clear_metrics()

        @telemetry.observe
        def handler(event: object, context: object) -> None:
            del event, context
            write(WorkerTelemetry(telemetry))

        handler({}, CONTEXT)
        printed = capsys.readouterr().out
        assert SECRET not in printed
        lines = [json.loads(line) for line in printed.splitlines()]
        metrics: dict[str, Any] = {}
        for line in lines:
            if "_aws" in line and "ColdStart" not in line:
                metrics |= line
        return [line for line in lines if "_aws" not in line][-1], metrics

    return run


def test_an_answer_is_logged_with_its_ids_and_measured(noted: Noted) -> None:
    ending = DeliveryOutcome(
        OutcomeKind.COMPLETED,
        task_id="task-1",
        attempt=1,
        call_seconds=2.5,
        usage=Usage(10, 20, 30, 4),
        cost_nanos=1_500_000,
    )

    log, metrics = noted(lambda journal: journal.record_outcome(DELIVERY, ending, MESSAGE))

    assert {key: log[key] for key in ("level", "ending", "task_id", "message_id", "receives", "attempt")} == {
        "level": "INFO",
        "ending": "completed",
        "task_id": "task-1",
        "message_id": "message-1",
        "receives": 2,
        "attempt": 1,
    }
    assert metrics["TasksCompleted"] == [1]
    assert metrics["Calls"] == [1]
    assert metrics["CallSeconds"] == [2.5]
    assert (metrics["PromptTokens"], metrics["CompletionTokens"], metrics["CachedTokens"]) == ([10], [20], [4])
    assert metrics["Cost"] == [0.0015]
    assert metrics["model"] == "gpt-test"


def test_a_delivery_without_a_call_counts_no_call(noted: Noted) -> None:
    _, metrics = noted(
        lambda journal: journal.record_outcome(DELIVERY, DeliveryOutcome(OutcomeKind.RATE_LIMITED, 3.0, "task-1"), None)
    )

    assert metrics["TasksRateLimited"] == [1]
    assert "Calls" not in metrics


@pytest.mark.parametrize("code", sorted(OPERATOR_CODES))
def test_what_only_an_operator_can_cure_has_a_metric_of_its_own(noted: Noted, code: FailureCode) -> None:
    log, metrics = noted(
        lambda journal: journal.record_outcome(
            DELIVERY, DeliveryOutcome(OutcomeKind.FAILED, task_id="task-1", code=code), MESSAGE
        )
    )

    assert log["code"] == code
    assert metrics["ServiceRefused"] == [1]
    assert metrics["code"] == code


def test_a_fault_of_ours_is_logged_by_type_and_place_without_its_text(noted: Noted) -> None:
    with pytest.raises(ValueError, match="dawn") as caught:
        _fail()
    error = caught.value

    log, _ = noted(
        lambda journal: journal.record_outcome(DELIVERY, DeliveryOutcome(OutcomeKind.CRASHED, 1.0, error=error), None)
    )

    assert (log["level"], log["error"]) == ("ERROR", "ValueError")
    assert "test_telemetry.py" in log["place"]


@pytest.mark.parametrize("kind", [OutcomeKind.CRASHED, OutcomeKind.RETRIED, OutcomeKind.FAILED])
def test_an_exception_that_no_rule_knows_is_counted_once_and_loud_however_the_delivery_ended(
    noted: Noted, kind: OutcomeKind
) -> None:
    ending = DeliveryOutcome(kind, 1.0, code=FailureCode.UNREADABLE_ANSWER, error=KeyError(SECRET))

    log, metrics = noted(lambda journal: journal.record_outcome(DELIVERY, ending, MESSAGE))

    assert metrics["TasksCrashed"] == [1]
    assert (log["level"], log["error"]) == ("ERROR", "KeyError")


def test_the_queues_failures_are_counted_by_message(noted: Noted) -> None:
    log, metrics = noted(lambda journal: journal.record_redelivery_failure("ReceiptHandleIsInvalid", 3))

    assert log["error"] == "ReceiptHandleIsInvalid"
    assert metrics["QueueFailures"] == [3]


def test_a_fault_that_cost_no_delivery_is_counted(noted: Noted) -> None:
    log, metrics = noted(lambda journal: journal.record_unexpected_error(KeyError(SECRET)))

    assert log["error"] == "KeyError"
    assert metrics["Faults"] == [1]


def test_every_outcome_has_a_metric_of_its_own() -> None:
    assert set(METRICS) == set(OutcomeKind)
    assert len(set(METRICS.values())) == len(METRICS)


@pytest.mark.parametrize(("now", "waited"), [(1_010.0, 7.5), (1_001.0, 0.0)])
def test_a_completed_task_has_waited_from_its_acceptance_to_its_last_call(
    request: pytest.FixtureRequest, now: float, waited: float
) -> None:
    telemetry = Telemetry.from_env({**ENV, "POWERTOOLS_SERVICE_NAME": request.node.name})

    # WHEN a task that was accepted at second 1,000 ends after a call of 2.5 s, once by a clock that is behind
    OutcomeMetrics(telemetry, lambda: now).record_outcome(
        DeliveryOutcome(OutcomeKind.COMPLETED, call_seconds=2.5), MESSAGE
    )

    assert telemetry.split["model", "gpt-test"].metric_set["WaitSeconds"]["Value"] == [waited]


def _fail() -> None:
    raise ValueError(SECRET)
