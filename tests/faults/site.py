"""The shared parts of all worlds: the site, its timing, its two queues, and the events for its functions."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.faults.functions import Lambda

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

EVENTS: Final = Path(__file__).parents[1] / "events"


@dataclass(frozen=True, slots=True)
class Site:
    """What all worlds share: the processes' parent, SQS, and the variables of each function in template.yaml."""

    functions: Lambda
    sqs: "SQSClient"
    aws_port: int
    variables: Mapping[str, Mapping[str, str]]
    folder: Path


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds. The queue's visibility exceeds the lease, which is over five seconds after the worker's end."""

    worker: int = 6
    model: int = 4
    visibility: int = 12
    workers: int = 1
    max_receives: int = 20
    variables: Mapping[str, str] = field(default_factory=dict)
    """More of the worker's environment."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API answered."""

    status: int
    body: dict[str, Any]
    text: str
    headers: Mapping[str, str]


async def new_queues(sqs: "SQSClient", name: str, timing: Timing) -> tuple[str, str]:
    """Make a queue and its dead-letter queue; return the URLs, the second one's first."""
    name = f"{name}-{secrets.token_hex(4)}"
    dead = (await sqs.create_queue(QueueName=f"{name}-dead", Attributes={"VisibilityTimeout": "2"}))["QueueUrl"]
    found = await sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": found["Attributes"]["QueueArn"], "maxReceiveCount": timing.max_receives}
    attributes = {"VisibilityTimeout": str(timing.visibility), "RedrivePolicy": json.dumps(redrive)}
    queue = await sqs.create_queue(QueueName=name, Attributes=attributes)  # type: ignore[arg-type]  # literals as names
    return dead, queue["QueueUrl"]


def read_event(name: str) -> dict[str, Any]:
    """Read a captured event, to be changed at will."""
    event: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return event
