"""Run worker environments by the dozen: `python -m tests.integration.flow.flooder <environments> <seconds>`.

The libraries are imported once; each environment is a fork that imports the real handler and is invoked, one batch of
new tasks after the other, until the time is over. What the handler reports comes back to nobody: there are always more.
"""

import contextlib
import importlib
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from common.domain.message import TaskMessage
from common.domain.task import Task, TaskRef, new_batch_id
from tests.invocation import Context, started
from tests.requests import chat

BATCH = 10
DAY_MS = 86_400_000
BACK_OFF_SECONDS = 1.0


def new_event() -> dict[str, Any]:
    """Make the event of a batch that has just been sent; its records are rebuilt from the messages."""
    now_ms = time.time_ns() // 1_000_000
    batch_id = new_batch_id(now_ms, secrets.token_bytes(16))
    bodies = [
        TaskMessage(
            Task(
                ref=TaskRef("acme", batch_id, index),
                batch_size=BATCH,
                created_ms=now_ms,
                deadline_ms=now_ms + DAY_MS,
                retention_ms=DAY_MS,
                model="gpt-test",
            ),
            chat(f"How many cross the bridge? {batch_id}-{index}"),
        ).encode()
        for index in range(BATCH)
    ]
    return {
        "Records": [
            {
                "messageId": secrets.token_hex(8),
                "receiptHandle": "receipt",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
            }
            for body in bodies
        ]
    }


def run_environment(until: float) -> None:
    """Invoke one environment until then, as long as somebody waits for it."""
    handler = started("worker")
    parent = os.getppid()
    while time.time() < until and os.getppid() == parent:
        if handler.lambda_handler(new_event(), Context("worker"))["batchItemFailures"]:
            time.sleep(BACK_OFF_SECONDS)


def main() -> None:
    """Fork the environments, and wait for their end."""
    environments, seconds = int(sys.argv[1]), float(sys.argv[2])
    for library in ("aioboto3", "openai", "redis.asyncio", "aws_lambda_powertools.utilities.parameters"):
        importlib.import_module(library)
    until = time.time() + seconds
    children = []
    for _ in range(environments):
        child = os.fork()
        if child == 0:
            status = 1
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
                run_environment(until)
                status = 0
            os._exit(status)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.stdout.write(json.dumps(statuses))


if __name__ == "__main__":
    main()
