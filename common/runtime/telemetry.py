"""Configure the log, the metrics and the trace of every function, so that none can contain a prompt or an answer.

It uses Powertools. An exception is logged with its type and place, never with its text, and neither the event nor the
response is recorded. The X-Ray SDK, and botocore with it, is imported only if tracing is on.
"""

import logging
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics, Metrics, MetricUnit

from common.runtime.metrics import Metric
from common.runtime.settings import Environment, flag, text

if TYPE_CHECKING:
    from aws_lambda_powertools import Tracer

type Handler = Callable[[dict[str, Any], Any], Any]

_IMPORTANT_FRAMES: Final = 6
"""Number of the innermost frames of an exception that are logged."""


class WordlessFormatter(LambdaPowertoolsFormatter):
    """Log an exception with its type and place only: its text may quote a request."""

    def _serialize_stacktrace(self, log_record: logging.LogRecord) -> None:  # no stack traces
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
    """Return the frames in which an exception was raised, the innermost last, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-_IMPORTANT_FRAMES:]
    return " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno}:{frame.name}" for frame in frames)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One function's logger, metrics and, if tracing is on, tracer."""

    logger: Logger
    metrics: Metrics
    tracer: "Tracer | None"
    split: dict[tuple[str, str], EphemeralMetrics] = field(default_factory=dict)
    """Metrics of this invocation with a second dimension, by its name and value."""
    sums: dict[tuple[Metric, str | None, str | None], float] = field(default_factory=dict)
    """Counts of this invocation by metric, code and model. Each sum is written as one value."""

    @classmethod
    def from_env(cls, env: Environment) -> "Telemetry":
        """Read POWERTOOLS_SERVICE_NAME, POWERTOOLS_METRICS_NAMESPACE and Powertools' optional variables."""
        service = text(env, "POWERTOOLS_SERVICE_NAME")
        return cls(
            logger=Logger(service=service, logger_formatter=WordlessFormatter()),
            metrics=Metrics(service=service, namespace=text(env, "POWERTOOLS_METRICS_NAMESPACE")),
            tracer=_tracer(service) if _is_traced(env) else None,
        )

    def observe(self, handler: Handler) -> Handler:
        """Wrap a Lambda handler: request id in each log line, metrics written at the end, one trace segment."""

        def summed(event: dict[str, Any], context: Any) -> Any:  # noqa: ANN401  # Lambda's own
            try:
                return handler(event, context)
            finally:
                self._write_sums()

        wrapped: Handler = self.metrics.log_metrics(summed, capture_cold_start_metric=True)
        wrapped = self.logger.inject_lambda_context(wrapped, log_event=False)
        if self.tracer is not None:
            wrapped = self.tracer.capture_lambda_handler(wrapped, capture_response=False, capture_error=False)

        def quietly(event: dict[str, Any], context: Any) -> Any:  # noqa: ANN401  # Lambda's own
            with warnings.catch_warnings():
                # Powertools warns if an invocation writes no metric, but reads write none.
                warnings.filterwarnings("ignore", message="No application metrics to publish")
                try:
                    return wrapped(event, context)
                finally:
                    self._flush()

        return quietly

    def count(self, metric: Metric, times: float = 1, *, code: str | None = None, model: str | None = None) -> None:
        """Add to a counter, optionally by code or by model."""
        what = metric, code, model
        self.sums[what] = self.sums.get(what, 0) + times

    def duration(self, metric: Metric, seconds: float, *, model: str | None = None) -> None:
        """Add one measured time to a metric."""
        self._metrics_by(model=model).add_metric(metric.value, MetricUnit.Seconds, seconds)

    def _metrics_by(self, **dimensions: str | None) -> Metrics | EphemeralMetrics:
        for name, value in dimensions.items():
            if value is None:
                continue
            if (name, value) not in self.split:
                metrics = EphemeralMetrics(service=self.metrics.service, namespace=self.metrics.namespace)
                # One value in two metrics: of the service, and of the service with this dimension.
                metrics.add_dimensions(service=str(self.metrics.service), **{name: value})
                self.split[name, value] = metrics
            return self.split[name, value]
        return self.metrics

    def _write_sums(self) -> None:
        for (metric, code, model), total in self.sums.items():
            self._metrics_by(code=code, model=model).add_metric(metric.value, MetricUnit.Count, total)
        self.sums.clear()

    def _flush(self) -> None:
        for metrics in self.split.values():
            metrics.flush_metrics()
        self.split.clear()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the block as a subsegment of the trace, after its end."""
        started = time.time()
        try:
            yield
        finally:
            with self.drawn(name, started, time.time()):
                pass

    @contextmanager
    def drawn(self, name: str, started: float, ended: float, **annotations: str | None) -> Iterator[None]:
        """Record a subsegment that has already ended, and the nested ones; times in seconds since 1970.

        Subsegments are recorded afterwards, because concurrent open ones would close each other. Without a trace it has
        no effect.
        """
        if self.tracer is None:
            yield
            return
        recorder: Any = self.tracer.provider  # X-Ray's recorder; Powertools' type lacks some methods
        segment = recorder.begin_subsegment(name)
        if segment is not None:
            segment.start_time = started
            for key, value in annotations.items():
                if value is not None:
                    segment.put_annotation(key, value)
        yield
        recorder.end_subsegment(ended)

    def annotate(self, key: str, value: str) -> None:
        """Annotate the trace of the running invocation, for searches; no effect without a trace."""
        if self.tracer is not None:
            self.tracer.put_annotation(key, value)


def _is_traced(env: Environment) -> bool:
    # Powertools disables tracing in the same cases, but only after it has imported the X-Ray SDK and botocore.
    in_lambda = bool(env.get("LAMBDA_TASK_ROOT")) and not env.get("AWS_SAM_LOCAL")
    return in_lambda and not flag(env, "POWERTOOLS_TRACE_DISABLED", default=False)


def _tracer(service: str) -> "Tracer":
    from aws_lambda_powertools import Tracer  # noqa: PLC0415  # imported only if tracing is on

    # Without patching: a traced HTTP call would record the address of each model call, and needs more imports.
    return Tracer(service=service, auto_patch=False)
