"""Simulate Lambda's event source: receive from a real queue, invoke, delete messages not reported as failed."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.faults.functions import Died, Environment, InvocationFailed

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

BATCH_SIZE: Final = 10
_WAIT_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What an environment holds after an invocation: resident bytes and open files, sockets among them."""

    resident: int
    files: int


@dataclass(slots=True)
class Poller:
    """Feed one function from one queue, in as many environments at a time as it has slots; `timeout` in seconds."""

    sqs: "SQSClient"
    queue_url: str
    start: Callable[[], Awaitable[Environment]]
    timeout: float
    kills_at_timeout: bool = True
    lose_answers: int = 0
    """So many answers are thrown away: the event source dies before it deletes."""

    environments: dict[int, Environment] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    """Every message that was ever received."""
    attributes: list[dict[str, str]] = field(default_factory=list)
    """What came beside each of them."""
    readings: defaultdict[int, list[Reading]] = field(default_factory=lambda: defaultdict(list))
    """Of each environment, by its process id."""
    received: int = 0
    reported: int = 0
    deaths: int = 0
    failures: int = 0
    busy: set[int] = field(default_factory=set)
    """The slots in which an invocation runs."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def polling(self, slots: int) -> AsyncIterator[None]:
        """Poll for the length of the block."""
        tasks = [asyncio.create_task(self._poll(slot)) for slot in range(slots)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            for environment in self.environments.values():
                await environment.close()
            self.environments.clear()
            for end in ends:
                if not isinstance(end, asyncio.CancelledError) and isinstance(end, BaseException):
                    raise end

    async def warm(self) -> None:
        """Start the first environment before a message comes."""
        self.environments[0] = await self.start()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of the counters."""
        async with self._changed:
            await self._changed.wait_for(holds)

    def kill(self) -> None:
        """Kill -9 every environment; the next invocation is a cold start."""
        for environment in self.environments.values():
            environment.kill()

    def freeze(self) -> None:
        """Stop the environments that are at work now."""
        for slot in self.busy:
            self.environments[slot].freeze()

    def thaw(self) -> None:
        """Let every environment go on."""
        for environment in self.environments.values():
            environment.thaw()

    async def retire(self) -> None:
        """Replace every environment at its next invocation, as a deployment does; what runs is let to its end."""
        await self.until(lambda: not self.busy)
        for environment in self.environments.values():
            environment.kill()

    async def _poll(self, slot: int) -> None:
        while True:
            received = await self.sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=BATCH_SIZE,
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageSystemAttributeNames=["All"],
            )
            if messages := received.get("Messages"):
                await self._deliver(slot, [_record(message) for message in messages])

    async def _deliver(self, slot: int, records: list[dict[str, Any]]) -> None:
        self.busy.add(slot)
        self.bodies |= {record["messageId"]: record["body"] for record in records}
        self.attributes += [record["attributes"] for record in records]
        self.received += len(records)
        await self._tell()
        try:
            back = await self._invoke(slot, {"Records": records})
            self.reported += len(back)
            done = [record for record in records if record["messageId"] not in back]
            if done:
                await self.sqs.delete_message_batch(
                    QueueUrl=self.queue_url,
                    Entries=[{"Id": str(n), "ReceiptHandle": each["receiptHandle"]} for n, each in enumerate(done)],
                )
        except Died:
            self.deaths += 1
        except InvocationFailed:
            self.failures += 1
        finally:
            self.busy.discard(slot)
            with contextlib.suppress(asyncio.CancelledError):
                await self._tell()

    async def _invoke(self, slot: int, event: dict[str, Any]) -> set[str]:
        environment = self.environments.get(slot)
        if environment is None or environment.ended:
            if environment is not None:
                await environment.close()
            environment = self.environments[slot] = await self.start()
        answer = await environment.invoke(event, self.timeout, kills=self.kills_at_timeout)
        self.readings[environment.pid].append(Reading(**environment.usage))
        if self.lose_answers:
            self.lose_answers -= 1
            raise Died
        return {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _record(message: Any) -> dict[str, Any]:  # noqa: ANN401  # SQS's own
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tasks",
        "awsRegion": "us-east-1",
    }
