"""Measure how deliveries end, by model and by code."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from common.domain.message import TaskMessage
from common.domain.spending import NANOS_PER_USD
from common.domain.task import FailureCode
from common.kinds.registry import public_model
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry
from common.worker.message import DeliveryOutcome, OutcomeKind

OPERATOR_CODES: Final = frozenset(
    {FailureCode.UNAUTHORIZED, FailureCode.FORBIDDEN, FailureCode.QUOTA_EXHAUSTED, FailureCode.REDIRECTED}
)
"""Codes that fail every task until an operator acts: the key, its rights, the account, the address. Alarmed on."""


METRICS: Final[Mapping[OutcomeKind, Metric]] = {
    OutcomeKind.COMPLETED: Metric.COMPLETED,
    OutcomeKind.FAILED: Metric.FAILED,
    OutcomeKind.DUPLICATE: Metric.DUPLICATE,
    OutcomeKind.RETRIED: Metric.RETRIED,
    OutcomeKind.RATE_LIMITED: Metric.RATE_LIMITED,
    OutcomeKind.STOPPED: Metric.STOPPED,
    OutcomeKind.HELD: Metric.HELD,
    OutcomeKind.UNSTARTED: Metric.UNSTARTED,
    OutcomeKind.UNACCEPTED: Metric.UNACCEPTED,
    OutcomeKind.DISCARDED: Metric.DISCARDED,
    OutcomeKind.BUSY: Metric.BUSY,
    OutcomeKind.LOST: Metric.LOST,
    OutcomeKind.UNRECORDED: Metric.UNRECORDED,
    OutcomeKind.UNAVAILABLE: Metric.UNAVAILABLE,
    OutcomeKind.UNREADABLE: Metric.UNREADABLE,
    OutcomeKind.TOO_NEW: Metric.TOO_NEW,
    OutcomeKind.CRASHED: Metric.CRASHED,
}
"""The metric that counts each outcome of a delivery."""


class OutcomeMetrics:
    """Turn the outcomes of deliveries into metrics."""

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float] = time.time) -> None:
        """Take where metrics go, and a clock in seconds since 1970."""
        self._telemetry = telemetry
        self._clock = clock

    def record_outcome(self, outcome: DeliveryOutcome, message: TaskMessage | None) -> None:
        """Measure one outcome; `message` is None where it could not be read."""
        self._telemetry.count(METRICS[outcome.kind], code=outcome.code)
        if outcome.error is not None and outcome.kind is not OutcomeKind.CRASHED:
            self._telemetry.count(Metric.CRASHED)
        if outcome.code in OPERATOR_CODES:
            self._telemetry.count(Metric.SERVICE_REFUSED, code=outcome.code)
        if message is not None and outcome.call_seconds is not None:
            self._called(outcome, outcome.call_seconds, message)

    def _called(self, outcome: DeliveryOutcome, call_seconds: float, message: TaskMessage) -> None:
        count, duration = self._telemetry.count, self._telemetry.duration
        model = public_model(message.task.kind, message.task.model)
        count(Metric.CALLS, model=model)
        duration(Metric.CALL_SECONDS, call_seconds, model=model)
        if outcome.kind is OutcomeKind.COMPLETED:
            # Redis set `created_ms` by its own clock, which may be a little ahead.
            age = self._clock() - message.task.created_ms / 1000
            duration(Metric.WAIT_SECONDS, max(0.0, age - call_seconds), model=model)
        if outcome.usage is not None:
            count(Metric.PROMPT_TOKENS, outcome.usage.prompt_tokens, model=model)
            count(Metric.COMPLETION_TOKENS, outcome.usage.completion_tokens, model=model)
            count(Metric.CACHED_TOKENS, outcome.usage.cached_tokens, model=model)
        if outcome.cost_nanos is not None:
            count(Metric.COST, outcome.cost_nanos / NANOS_PER_USD, model=model)
