"""One Lambda environment of the worker: its real handler on moto, Valkey and the stand-in model."""

import asyncio
import importlib
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from moto.sqs.models import Message, sqs_backends

from common.messages import TaskMessage
from common.settings import RedisSettings
from common.store.connection import connect
from common.store.task_store import TaskStore
from common.tasks import NewBatch, Task, TaskRecord, TaskRef, new_batch_id
from local.model import StandIn

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION = "eu-central-1"
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
        now_ms = time.time_ns() // 1_000_000
        batch_id = new_batch_id(now_ms, secrets.token_bytes(16))
        models = ("gpt-test",) * len(prompts)
        batch = NewBatch("acme", batch_id, models, (None,) * len(prompts), 3_600_000, 86_400_000)
        created = self.on_store(lambda store: store.create(batch))
        for index, prompt in enumerate(prompts):
            ref = TaskRef("acme", batch_id, index)
            task = Task(ref, len(prompts), created.created_ms, created.deadline_ms, batch.retention_ms, "gpt-test")
            self._tasks[prompt] = task
            message = TaskMessage(task, [{"role": "user", "content": prompt}], params)
            self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=message.encode())

    def receive(self) -> dict[str, Any]:
        """Take up to ten messages, as the poller does, and make the event of them."""
        answer = self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return {
            "Records": [
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": dict(message["Attributes"]),
                    "eventSource": "aws:sqs",
                }
                for message in answer.get("Messages", [])
            ]
        }

    def invoke(self, event: dict[str, Any], *, remaining: float = 300.0) -> set[str]:
        """Invoke the handler, delete what it does not report, and return the prompts of what it does."""
        return {prompt_in(record["body"]) for record in self.invoke_raw(event, remaining=remaining)}

    def invoke_raw(self, event: dict[str, Any], *, remaining: float = 300.0) -> list[dict[str, Any]]:
        """Do the same, and return the event's records that come back."""
        context = SimpleNamespace(
            function_name="worker",
            memory_limit_in_mb=1769,
            invoked_function_arn="arn:aws:lambda:worker",
            aws_request_id=secrets.token_hex(8),
            get_remaining_time_in_millis=lambda: round(remaining * 1000),
        )
        answer = self.handler.lambda_handler(event, context)
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
        [record] = self.on_store(lambda store: store.read([self._tasks[prompt].ref]))
        assert record is not None
        return record

    def cancel(self, prompt: str) -> None:
        """Take a prompt's task back."""
        self.on_store(lambda store: store.cancel([self._tasks[prompt].ref]))

    def on_store[Answer](self, use: Callable[[TaskStore], Awaitable[Answer]]) -> Answer:
        async def run() -> Answer:
            client = connect(self.redis)
            try:
                return await use(TaskStore(client))
            finally:
                await client.aclose()

        return asyncio.run(run())


def prompt_in(body: str) -> str:
    return str(TaskMessage.decode(body).messages[0]["content"])


@contextmanager
def imported_handler(name: str = "functions.worker.handler") -> Iterator[ModuleType]:
    """Import the handler as a cold start does, and close afterwards what Lambda would leave to the end of its days."""
    sys.modules.pop(name, None)
    handler = importlib.import_module(name)
    try:
        yield handler
    finally:
        handler.RUNNER.run(_close(handler))
        handler.RUNNER.close()
        del sys.modules[name]


async def _close(handler: ModuleType) -> None:
    await handler.QUEUE.close()
    await handler.MODEL.close()
    await handler.REDIS.aclose()


def new_queue(sqs: "SQSClient") -> str:
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
    return sqs.create_queue(QueueName=f"tasks-{secrets.token_hex(4)}", Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]  # a literal's type
