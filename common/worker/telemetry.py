"""Note how deliveries end: a log line, metrics and a trace segment each, without a word of prompt or answer."""

import time
from typing import Final

from common.domain.message import TaskMessage
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry, place_of
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.outcome_metrics import OutcomeMetrics

_LOUD: Final = frozenset({OutcomeKind.CRASHED, OutcomeKind.UNRECORDED, OutcomeKind.UNAVAILABLE, OutcomeKind.UNREADABLE})
"""Endings that ought not to happen."""


class WorkerTelemetry:
    """Write the worker's telemetry."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._measures = OutcomeMetrics(telemetry)

    def record_outcome(self, delivery: ReceivedMessage, outcome: DeliveryOutcome, message: TaskMessage | None) -> None:
        """Note how a delivery ended; `message` is None where it could not be read."""
        self._log(delivery, outcome)
        self._measures.record_outcome(outcome, message)
        self._trace(delivery, outcome)

    def record_unexpected_error(self, error: Exception) -> None:
        """Note an error that nobody foresaw and that cost no delivery."""
        self._telemetry.logger.error("fault", extra={"error": type(error).__qualname__, "place": place_of(error)})
        self._telemetry.count(Metric.FAULTS)

    def record_redelivery_failure(self, code: str, messages: int) -> None:
        """Note that messages come back when the queue likes, not when they are due."""
        self._telemetry.logger.warning("visibility not changed", extra={"error": code, "messages": messages})
        self._telemetry.count(Metric.QUEUE_FAILURES, messages)

    def _log(self, delivery: ReceivedMessage, outcome: DeliveryOutcome) -> None:
        facts = {
            "ending": outcome.kind,
            "message_id": delivery.message_id,
            "receives": delivery.receives,
            "task_id": outcome.task_id,
            "attempt": outcome.attempt,
            "code": outcome.code,
            "visible_in": _rounded(outcome.retry_in_seconds),
            "call_seconds": _rounded(outcome.call_seconds),
        }
        if outcome.error is not None:
            facts |= {"error": type(outcome.error).__qualname__, "place": place_of(outcome.error)}
        known = {name: fact for name, fact in facts.items() if fact is not None}
        log = self._telemetry.logger
        is_loud = outcome.kind in _LOUD or outcome.error is not None
        (log.error if is_loud else log.info)("delivery ended", extra=known)

    def _trace(self, delivery: ReceivedMessage, outcome: DeliveryOutcome) -> None:
        if outcome.task_id is None:
            return
        now = time.time()
        began = now - (outcome.call_seconds or 0.0)
        facts = {"task_id": outcome.task_id, "ending": outcome.kind.value, "code": outcome.code}
        # One invocation serves many requests, so a task's part names the trace of the request that brought it.
        with self._telemetry.drawn("task", began, now, submitted_in=delivery.trace_id, **facts):
            if outcome.call_seconds is not None:
                with self._telemetry.drawn("model", began, now):
                    pass


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
