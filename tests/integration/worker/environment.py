"""One Lambda environment of the worker: its real handler on moto, Valkey and the stand-in model."""

import asyncio
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from moto.sqs.models import Message, sqs_backends

from common.domain.message import TaskMessage
from common.domain.request import Kind
from common.domain.task import NewBatch, Task, TaskRecord, TaskRef, TaskSpec, new_batch_id
from common.runtime.settings import RedisSettings
from local.model import StandIn
from tests.aws import REGION, received
from tests.invocation import Context, started
from tests.requests import chat, messages_of
from tests.store import accepted, on_store, record_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

ACCOUNT = "123456789012"
SECRET_NAME = "sluice/openai"
VISIBILITY_SECONDS = 1800


@contextmanager
def stand_in_model() -> Iterator[tuple[str, StandIn]]:
    """Run the stand-in on a thread of its own: the handler's loop is not ours to share."""
    stand_in = StandIn(("gpt-test",))
    ready: list[str] = []
    is_up = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with stand_in.serve() as url:
            ready.append(url)
            is_up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert is_up.wait(10)
    try:
        yield ready[0], stand_in
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@dataclass
class WorkerEnvironment:
    """Send prompts, invoke the handler as Lambda does, and look at what is left."""

    handler: ModuleType
    sqs: "SQSClient"
    queue_url: str
    model: StandIn
    redis: RedisSettings
    _tasks: dict[str, Task] = field(default_factory=dict)

    def send(self, *prompts: str, **params: object) -> None:
        """Do as submit does: record a batch, then send a message a prompt."""
        for prompt, task in zip(prompts, self.record_batch(*["gpt-test"] * len(prompts)), strict=True):
            self._tasks[prompt] = task
            self.put(TaskMessage(task, chat(prompt, **params)))

    def record_batch(self, *models: str, kind: Kind = Kind.CHAT) -> list[Task]:
        """Record a batch of a task a model."""
        batch_id = new_batch_id(time.time_ns() // 1_000_000, secrets.token_bytes(16))
        batch = NewBatch("acme", batch_id, tuple(map(TaskSpec, models)), 3_600_000, 86_400_000, kind=kind)
        created = on_store(self.redis, lambda store: accepted(store, batch))
        return [
            Task(
                ref=TaskRef(batch.tenant, batch_id, index),
                batch_size=batch.size,
                created_ms=created.created_ms,
                deadline_ms=created.deadline_ms,
                retention_ms=batch.retention_ms,
                kind=kind,
                model=model,
            )
            for index, model in enumerate(models)
        ]

    def put(self, message: TaskMessage) -> None:
        """Put a message on the queue."""
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=message.encode())

    def receive(self) -> dict[str, Any]:
        """Take up to ten messages, as the poller does, and make the event of them."""
        return received(self.sqs, self.queue_url)

    def invoke(self, event: dict[str, Any], *, remaining: float = 300.0) -> set[str]:
        """Invoke the handler, delete what it does not report, and return the prompts of what it does."""
        return {prompt_in(record["body"]) for record in self.invoke_raw(event, remaining=remaining)}

    def invoke_raw(self, event: dict[str, Any], *, remaining: float = 300.0) -> list[dict[str, Any]]:
        """Do the same, and return the event's records that come back."""
        answer = self.handler.lambda_handler(event, Context("worker", remaining_ms=round(remaining * 1000)))
        assert set(answer) == {"batchItemFailures"}
        failed = {entry["itemIdentifier"] for entry in answer["batchItemFailures"]}
        for record in event["Records"]:
            if record["messageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=record["receiptHandle"])
        return [record for record in event["Records"] if record["messageId"] in failed]

    def seconds_until_visible(self) -> dict[str, float]:
        """Look into the queue: when each message that is left can be received again."""
        now_ms = time.time() * 1000
        return {prompt_in(message.body): (message.visible_at - now_ms) / 1000 for message in self.messages()}

    def messages(self) -> list[Message]:
        """Look into the queue: all that is left of its messages."""
        return list(sqs_backends[ACCOUNT][REGION].queues[self.queue_url.rsplit("/", 1)[1]]._messages)

    def record(self, prompt: str) -> TaskRecord:
        """Read a prompt's record."""
        return record_of(self.redis, self._tasks[prompt].ref)

    def cancel(self, prompt: str) -> None:
        """Take a prompt's task back."""
        on_store(self.redis, lambda store: store.cancel([self._tasks[prompt].ref]))


def prompt_in(body: str) -> str:
    return str(messages_of(TaskMessage.decode(body))[0]["content"])


@contextmanager
def running_handler(function: str) -> Iterator[ModuleType]:
    """Start a worker's handler cold, and close afterwards what Lambda would leave to the end of its days."""
    handler = started(function)
    try:
        yield handler
    finally:
        handler.RUNNER.run(_close(handler))
        handler.RUNNER.close()


async def _close(handler: ModuleType) -> None:
    await handler.PARTS.queue.close()
    await handler.MODEL.close()
    await handler.PARTS.redis.aclose()


def new_queue(sqs: "SQSClient") -> str:
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
    return sqs.create_queue(QueueName=f"tasks-{secrets.token_hex(4)}", Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]  # a literal's type
