"""Calculate the cost of a million prompts and of a month, from a dated price list and assumptions about callers.

docs/operations.md states the cost of the template's defaults with the same prices; a test compares them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PRICES: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("prices.json").read_text())
DOLLARS: Final[dict[str, float]] = {name: price for name, (price, _) in PRICES["dollars"].items()}
MILLION: Final = 1_000_000
HOURS: Final = 730
"""In a month."""

TOKENS_A_SECOND: Final = 60
"""Streaming rate of a provider; each token is an event."""

EVENT_BYTES: Final = 200
"""Of one event through the NAT: those of our two stand-ins have 189 and 219."""

REQUEST_BYTES: Final = 1_500
"""Of a request to the model and the heads of both, through the NAT."""

PROMPTS_A_CALL: Final = 100
MESSAGES_SENT: Final = 10
"""Of one request to SQS, at most."""

LOOKS: Final = 2
"""GET requests per POST."""

POST_GB_SECONDS: Final = 0.15
GET_GB_SECONDS: Final = 0.05
"""Of submit and status, for one call: mostly they wait for SQS and Redis. Assumed, not measured."""

LAMBDAS_LOG_BYTES: Final = 400
"""Of what Lambda itself logs of an invocation. Assumed, not measured."""

TRACED: Final = 0.05
"""Share of requests and invocations of which X-Ray keeps a trace: its default, beyond the first of each second."""

POLLERS: Final = 5
POLLS_A_MINUTE: Final = 3
EVENT_SOURCES: Final = 7
"""Queues that a function reads; of each, so many pollers wait for 20 seconds at a time."""

FREE_SQS_REQUESTS: Final = 1_000_000
ALARM_METRICS: Final = 36
SECRETS: Final = 3
ZONES: Final = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration of the worker."""

    batch: int
    concurrency: int
    memory: int

    @property
    def name(self) -> str:
        """Return its name for a table."""
        if self.batch == 1:
            return f"one prompt an invocation, {self.memory:,} MB"
        return f"batch {self.batch:,}, {self.concurrency} at a time, {self.memory:,} MB"


@dataclass(frozen=True, slots=True)
class Taken:
    """Measured use of other services by a worker."""

    log_bytes: tuple[float, float]
    """Of an invocation itself, and of each prompt."""

    sqs_requests: Mapping[int, float]
    """Of a prompt, by the size of the batches."""

    def sqs_of(self, batch: int) -> float:
        """Return the SQS requests of a prompt in batches of this size."""
        if batch == 1:
            return 1 + 1 + 1 / MESSAGES_SENT
        return self.sqs_requests[min(self.sqs_requests, key=lambda size: abs(size - batch))]


def lines(choice: Choice, seconds: float, billed: float, taken: Taken) -> dict[str, float]:
    """Return the cost of a million prompts in dollars, from their seconds and the billed seconds of an invocation."""
    invocations = MILLION / choice.batch
    calls = MILLION / PROMPTS_A_CALL
    requests = calls * (1 + LOOKS)
    own, each = taken.log_bytes
    return {
        "worker": invocations * billed * choice.memory / 1024 * DOLLARS["lambda_gb_second_arm"],
        "NAT, data": MILLION * nat_bytes(seconds) / 1e9 * DOLLARS["nat_gb"],
        "log": (invocations * (own + LAMBDAS_LOG_BYTES) + MILLION * each) / 1e9 * DOLLARS["logs_gb"],
        "SQS": taken.sqs_of(choice.batch) * DOLLARS["sqs_million_fair_requests"],
        "API Gateway": requests / MILLION * DOLLARS["rest_api_million_calls"],
        "submit and status": calls * (POST_GB_SECONDS + LOOKS * GET_GB_SECONDS) * DOLLARS["lambda_gb_second_arm"],
        "Lambda's requests": (invocations + requests) / MILLION * DOLLARS["lambda_million_requests"],
        "X-Ray": TRACED * (invocations + requests) / MILLION * DOLLARS["xray_million_traces"],
    }


def nat_bytes(seconds: float) -> float:
    """Return the bytes of a prompt and its streamed response."""
    return REQUEST_BYTES + seconds * TOKENS_A_SECOND * EVENT_BYTES


def always(nodes: int, gateways: int) -> dict[str, float]:
    """Return the fixed cost of a month in dollars."""
    polls = EVENT_SOURCES * POLLERS * POLLS_A_MINUTE * 60 * HOURS
    return {
        "cache": nodes * HOURS * DOLLARS["cache_node_hour"],
        "NAT": gateways * HOURS * (DOLLARS["nat_hour"] + DOLLARS["address_hour"]),
        "endpoint": ZONES * HOURS * DOLLARS["endpoint_hour"],
        "secrets": SECRETS * DOLLARS["secret_month"],
        "alarms": ALARM_METRICS * DOLLARS["alarm_metric_month"],
        "polling": (polls - FREE_SQS_REQUESTS) / MILLION * DOLLARS["sqs_million_requests"],
    }


def elsewhere() -> dict[str, float]:
    """Return the list prices of alternatives for a million prompts."""
    pair = 2 * HOURS * (0.25 * DOLLARS["fargate_arm_vcpu_hour"] + 0.5 * DOLLARS["fargate_arm_gb_hour"])
    hosted = {name: price for name, (price, _) in PRICES["hosted_million"].items()}
    return {"Celery on two always-on Fargate tasks of 0.25 vCPU, a million a month": pair, **hosted}
