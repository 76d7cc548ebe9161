"""Run a function with X-Ray tracing in a separate process, because the SDK keeps global state."""

import os
import sys
from contextlib import suppress

from common.domain.message import TaskMessage
from common.domain.task import FailureCode, Task, TaskRef
from common.runtime.telemetry import Telemetry
from common.worker.message import DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.telemetry import WorkerTelemetry
from tests.invocation import Context
from tests.requests import chat

PROMPT = "attack at dawn"
TELEMETRY = Telemetry.from_env(os.environ)


@TELEMETRY.observe
def worker(event: dict[str, str], context: object) -> None:
    """Note how three deliveries ended, one of them without a call."""
    del context
    journal = WorkerTelemetry(TELEMETRY)
    message = TaskMessage(
        Task(
            ref=TaskRef("acme", "0" * 36, 0),
            batch_size=3,
            created_ms=0,
            deadline_ms=10**13,
            retention_ms=10**7,
            model="gpt-test",
        ),
        chat(PROMPT),
    )
    attributes = {"ApproximateReceiveCount": "1", "AWSTraceHeader": event["header"]}
    record = {"messageId": "m", "receiptHandle": "r", "body": message.encode(), "attributes": attributes}
    delivery = ReceivedMessage.of(record)
    journal.record_outcome(
        delivery, DeliveryOutcome(OutcomeKind.COMPLETED, task_id="task-0", call_seconds=2.5), message
    )
    refused = DeliveryOutcome(OutcomeKind.FAILED, task_id="task-1", call_seconds=0.5, code=FailureCode.UNAUTHORIZED)
    journal.record_outcome(delivery, refused, message)
    journal.record_outcome(delivery, DeliveryOutcome(OutcomeKind.BUSY, 3.0, "task-2"), message)


@TELEMETRY.observe
def submit(event: dict[str, str], context: object) -> None:
    """Take two steps, the second of which fails."""
    del event, context
    with TELEMETRY.step("redis"):
        pass
    with suppress(ValueError), TELEMETRY.step("sqs"):
        raise ValueError(PROMPT)


{"worker": worker, "submit": submit}[sys.argv[1]]({"header": sys.argv[2]}, Context())
