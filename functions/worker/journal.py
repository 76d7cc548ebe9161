"""Note how deliveries end: a log line, metrics and a trace segment each, without a word of prompt or answer."""

from typing import Final

from common.spending import NANOS_PER_USD
from common.tasks import FailureCode
from common.telemetry import Telemetry, place_of
from functions.worker.delivery import Delivery, Ending, EndingKind

OUR_FAULT: Final = frozenset({FailureCode.UNAUTHORIZED, FailureCode.FORBIDDEN, FailureCode.QUOTA_EXHAUSTED})
"""Codes that fail every task until an operator acts: the key, its rights, the account. A metric to alarm on."""

_LOUD: Final = frozenset({EndingKind.CRASHED, EndingKind.UNRECORDED, EndingKind.UNAVAILABLE, EndingKind.UNREADABLE})
"""Endings that ought not to happen."""


class WorkerJournal:
    """Write the worker's telemetry.

    Metrics: `Tasks<Kind>` counts deliveries by ending, e.g. TasksCompleted; Calls, CallSeconds, PromptTokens,
    CompletionTokens, CachedTokens, Cost (in US dollars), ServiceRefused, QueueFailures and Faults.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def ended(self, delivery: Delivery, ending: Ending) -> None:
        """Note how a delivery ended."""
        self._log(delivery, ending)
        self._measure(ending)
        self._trace(ending)

    def fault(self, error: Exception) -> None:
        """Note an error that nobody foresaw and that cost no delivery."""
        self._telemetry.logger.error("fault", extra={"error": type(error).__qualname__, "place": place_of(error)})
        self._telemetry.count("Faults")

    def queue_failed(self, code: str, messages: int) -> None:
        """Note that messages come back when the queue likes, not when they are due."""
        self._telemetry.logger.warning("visibility not changed", extra={"error": code, "messages": messages})
        self._telemetry.count("QueueFailures", messages)

    def _log(self, delivery: Delivery, ending: Ending) -> None:
        facts = {
            "ending": ending.kind,
            "message_id": delivery.message_id,
            "receives": delivery.receives,
            "task_id": ending.task_id,
            "attempt": ending.attempt,
            "code": ending.code,
            "visible_in": _rounded(ending.visible_in),
            "call_seconds": _rounded(ending.call_seconds),
        }
        if ending.error is not None:
            facts |= {"error": type(ending.error).__qualname__, "place": place_of(ending.error)}
        known = {name: fact for name, fact in facts.items() if fact is not None}
        log = self._telemetry.logger
        (log.error if ending.kind in _LOUD else log.info)("delivery ended", extra=known)

    def _measure(self, ending: Ending) -> None:
        count = self._telemetry.count
        count("Tasks" + ending.kind.title().replace("_", ""))
        if ending.call_seconds is not None:
            count("Calls")
            self._telemetry.duration("CallSeconds", ending.call_seconds)
        if ending.usage is not None:
            count("PromptTokens", ending.usage.prompt_tokens)
            count("CompletionTokens", ending.usage.completion_tokens)
            count("CachedTokens", ending.usage.cached_tokens)
        if ending.cost_nanos is not None:
            count("Cost", ending.cost_nanos / NANOS_PER_USD)
        if ending.code in OUR_FAULT:
            count("ServiceRefused")

    def _trace(self, ending: Ending) -> None:
        tracer = self._telemetry.tracer
        if tracer is None or ending.task_id is None:
            return
        # Drawn in one go after the fact: segments that are open while other tasks run would close each other.
        with tracer.provider.in_subsegment(name="task") as segment:
            segment.put_annotation("task_id", ending.task_id)
            segment.put_annotation("ending", ending.kind.value)
            if ending.code is not None:
                segment.put_annotation("code", ending.code.value)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
