"""Sluice's own worker: the real handler, fed the events that SQS sends, claim to complete on a real Valkey.

`--requests-a-minute` limits what all workers on one Valkey may ask.
"""

import argparse
import asyncio
import math
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import batched
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.contenders.load import PROMPT, Clock, Load
from common.domain.message import TaskMessage
from common.domain.rate_limits import HORIZON_MS
from common.domain.task import Answer, NewBatch, Task, TaskRef, TaskSpec, new_batch_id
from common.runtime.settings import RedisSettings
from common.store.client import connect
from common.store.tasks import TaskStore
from common.worker import schedule
from local.settings import ROOT
from tests.invocation import Context
from tests.requests import chat

WORKER_SECONDS = 900


INVOCATION: Final = Context(remaining_ms=WORKER_SECONDS * 1000)
"""What Lambda hands over beside the event: a fresh invocation has all its time."""


def environment(url: str, redis_port: int, concurrency: int) -> dict[str, str]:
    """Return what template.yaml sets, with this machine's servers."""
    parts = urlsplit(url)
    return {
        # As in Lambda; its daemon for traces is not here.
        "LAMBDA_TASK_ROOT": str(ROOT),
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"{parts.scheme}://{parts.netloc}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "POWERTOOLS_SERVICE_NAME": "worker",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_port),
        "REDIS_TLS": "false",
        "REDIS_CLUSTER": "false",
        "QUEUE_URL": f"{parts.scheme}://{parts.netloc}/1/tasks",
        "WEBHOOK_QUEUE_URL": f"{parts.scheme}://{parts.netloc}/1/webhooks",
        "CONCURRENCY": str(concurrency),
        "WORKER_TIMEOUT_SECONDS": str(WORKER_SECONDS),
        "MODEL_TIMEOUT_SECONDS": "120",
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY_SECRET": "sluice/openai-api-key",
    }


async def submitted(load: Load, prompts: int) -> list[str]:
    """Record tasks as submit does and return their messages."""
    client = connect(RedisSettings("127.0.0.1", load.redis_port, tls=False, cluster=False, username=None))
    batch_id = new_batch_id(time.time_ns() // 1_000_000, secrets.token_bytes(16))
    batch = NewBatch("acme", batch_id, (TaskSpec("gpt-5-mini"),) * prompts, 21_600_000, 86_400_000)
    store = TaskStore(client)
    created = await store.create(batch)
    await store.mark_accepted(batch.tenant, batch_id, created.sending_until_ms)
    await client.aclose()
    refs = [TaskRef("acme", batch_id, index) for index in range(prompts)]
    return [
        TaskMessage(
            Task(
                ref=ref,
                batch_size=prompts,
                created_ms=created.created_ms,
                deadline_ms=created.deadline_ms,
                retention_ms=batch.retention_ms,
                model="gpt-5-mini",
            ),
            chat(PROMPT),
        ).encode()
        for ref in refs
    ]


def events_of(bodies: list[str], size: int) -> Iterator[dict[str, Any]]:
    """Pack messages into events as the event source does."""
    for group in batched(bodies, size, strict=False):
        records = [
            {
                "messageId": secrets.token_hex(16),
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for body in group
        ]
        yield {"Records": records}


def main() -> None:
    """Work on all events, one invocation after the other."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--requests-a-minute", type=int)
    limit, sys.argv[1:] = own.parse_known_args()
    load = Load.from_arguments()
    os.environ.update(environment(load.url, load.redis_port, load.in_flight))
    if limit.requests_a_minute:
        os.environ["MODEL_LIMITS"] = f"*={limit.requests_a_minute}/"
        # A start that is later than this is given up, and its message comes back: a busy machine is soon as late.
        schedule.LATE_SECONDS = HORIZON_MS / 1000  # type: ignore[misc]  # for this process
    from common.worker.wiring import WorkerWiring  # noqa: PLC0415  # as late as the handler
    from functions.worker import handler  # noqa: PLC0415  # it reads the environment

    clock, ask = Clock(load), handler.MODEL.ask

    async def timed(message: TaskMessage, on_text: Callable[[str], None], *, ends_at: float = math.inf) -> Answer:
        began = time.perf_counter()
        answer = await ask(message, on_text, ends_at=ends_at)
        clock.called(began)
        return answer

    def work(events: list[dict[str, Any]]) -> None:
        for event in events:
            answer = handler.lambda_handler(event, INVOCATION)
            if answer["batchItemFailures"]:
                sys.exit("a message came back")

    warm_up = asyncio.run(submitted(load, load.warm_up))
    bodies = asyncio.run(submitted(load, load.prompts))
    if load.warm_up_url:
        settings = replace(handler.SETTINGS, openai_base_url=load.warm_up_url)
        quick = WorkerWiring(settings, handler.TELEMETRY).chat_model
        handler.MODEL.ask = quick.ask  # type: ignore[method-assign]  # while it warms up
    work(list(events_of(warm_up, load.batch)))
    handler.MODEL.ask = timed  # type: ignore[method-assign]  # to time it
    events = list(events_of(bodies, load.batch))
    clock.begin()
    work(events)
    clock.end()


if __name__ == "__main__":
    main()
