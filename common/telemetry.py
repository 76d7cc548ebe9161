"""Give every function its log, its metrics and its trace, none of which can carry a prompt or an answer.

Powertools does the work. This module only chooses its switches: an exception is logged by type and place, never by its
text, and neither event nor response is recorded. The X-Ray SDK, and with it botocore, is imported only where it traces.
"""

import logging
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from common.settings import Environment, flag, text

if TYPE_CHECKING:
    from aws_lambda_powertools import Tracer

type Handler = Callable[[dict[str, Any], Any], Any]

_IMPORTANT_FRAMES: Final = 6
"""How many of the innermost frames of an exception are logged."""


class WordlessFormatter(LambdaPowertoolsFormatter):
    """Log an exception by its type and place: its text may quote what a caller sent."""

    def _serialize_stacktrace(self, log_record: logging.LogRecord) -> None:  # never one
        del log_record

    def _extract_log_exception(  # type: ignore[override]  # the base spells out its three shapes
        self,
        log_record: logging.LogRecord,
    ) -> tuple[str | None, str | None, None]:
        if not isinstance(log_record.exc_info, tuple) or log_record.exc_info[1] is None:
            return None, None, None
        error = log_record.exc_info[1]
        return place_of(error), type(error).__qualname__, None


def place_of(error: BaseException) -> str:
    """Say where an exception was raised, the innermost frame last, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-_IMPORTANT_FRAMES:]
    return " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno}:{frame.name}" for frame in frames)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Hold one function's logger, metrics and, where X-Ray listens, tracer."""

    logger: Logger
    metrics: Metrics
    tracer: "Tracer | None"

    @classmethod
    def from_env(cls, env: Environment) -> "Telemetry":
        """Read POWERTOOLS_SERVICE_NAME and POWERTOOLS_METRICS_NAMESPACE, and Powertools' own optional switches."""
        service = text(env, "POWERTOOLS_SERVICE_NAME")
        return cls(
            logger=Logger(service=service, logger_formatter=WordlessFormatter()),
            metrics=Metrics(service=service, namespace=text(env, "POWERTOOLS_METRICS_NAMESPACE")),
            tracer=_tracer(service) if _is_traced(env) else None,
        )

    def observe(self, handler: Handler) -> Handler:
        """Wrap a Lambda handler: request id in each log line, metrics written at the end, one trace segment."""
        wrapped: Handler = self.metrics.log_metrics(handler, capture_cold_start_metric=True)
        wrapped = self.logger.inject_lambda_context(wrapped, log_event=False)
        if self.tracer is not None:
            wrapped = self.tracer.capture_lambda_handler(wrapped, capture_response=False, capture_error=False)

        def quietly(event: dict[str, Any], context: Any) -> Any:  # noqa: ANN401  # Lambda's own
            with warnings.catch_warnings():
                # Powertools warns of every invocation that counted nothing, and one that only reads counts nothing.
                warnings.filterwarnings("ignore", message="No application metrics to publish")
                return wrapped(event, context)

        return quietly

    def count(self, name: str, times: float = 1) -> None:
        """Add to a metric that counts."""
        self.metrics.add_metric(name=name, unit=MetricUnit.Count, value=times)

    def duration(self, name: str, seconds: float) -> None:
        """Add one measured time to a metric."""
        self.metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)

    def annotate(self, key: str, value: str) -> None:
        """Make the running invocation's trace findable by this key; do nothing where there is no trace."""
        if self.tracer is not None:
            self.tracer.put_annotation(key, value)


def _is_traced(env: Environment) -> bool:
    # Powertools disables itself in the same cases, but only after it has imported the X-Ray SDK and botocore.
    in_lambda = bool(env.get("LAMBDA_TASK_ROOT")) and not env.get("AWS_SAM_LOCAL")
    return in_lambda and not flag(env, "POWERTOOLS_TRACE_DISABLED", default=False)


def _tracer(service: str) -> "Tracer":
    from aws_lambda_powertools import Tracer  # noqa: PLC0415  # imported where it traces

    # Without patching: a traced HTTP call would carry the address of each model call, and costs imports.
    return Tracer(service=service, auto_patch=False)
