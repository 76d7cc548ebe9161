"""Redeliver messages when their next attempt is due: make them visible again, or send a copy."""

import asyncio
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import batched
from typing import TYPE_CHECKING, Any, Final, Literal

from common.worker.message import SUSPECT_MARK, ReceivedMessage

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient
    from types_aiobotocore_sqs.type_defs import MessageAttributeValueTypeDef, MessageSystemAttributeValueTypeDef

    type SystemAttributes = dict[Literal["AWSTraceHeader"], MessageSystemAttributeValueTypeDef]

BATCH_SIZE: Final = 10
"""Messages in one ChangeMessageVisibilityBatch, at most."""

SUSPECT_ATTRIBUTES: Final[Mapping[str, "MessageAttributeValueTypeDef"]] = {
    SUSPECT_MARK: {"DataType": "String", "StringValue": "true"}
}

CLIENT: Final[Mapping[str, Any]] = {
    "connect_timeout": 2,
    "read_timeout": 3,
    "retries": {"mode": "standard", "total_max_attempts": 2},
    "max_pool_connections": 50,
}
"""How the client is made; times are in seconds. Messages go back in the last seconds of an invocation."""

MAX_DELAY_SECONDS: Final = 900
"""SQS delays a new message by 15 minutes at most."""

MAX_VISIBILITY_SECONDS: Final = 12 * 3600 - 15 * 60
"""SQS allows 12 hours from the receive; the invocation, 15 minutes at most, has used some of them."""


class RedeliveryQueue:
    """Change the visibility of received messages. One for the life of the environment.

    Most invocations change nothing, and aioboto3 takes a second of CPU to import: it is loaded, in a thread, when the
    first message is hidden or goes back, and its client is kept from then on.
    """

    def __init__(self, queue_url: str, on_failure: Callable[[str, int], None]) -> None:
        """Take the queue's URL, and the callback for an error's code and the number of its messages."""
        self._queue_url = queue_url
        self._on_failure = on_failure
        self._opened = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: SQSClient | None = None

    async def return_messages(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        """Make messages visible again in so many seconds, rounded up: a lease must be over, not nearly over.

        Failures are reported and not raised: the queue's own visibility timeout then decides.
        """
        async with asyncio.TaskGroup() as group:
            for batch in batched(waits, BATCH_SIZE, strict=False):
                group.create_task(self._change(batch))

    async def extend_visibility(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        """Hide messages that are being worked on for so many seconds; failures are reported and not raised."""
        await self.return_messages(waits)

    async def resend(
        self, waits: Sequence[tuple[ReceivedMessage, str, float]], on_sent: Callable[[ReceivedMessage], None]
    ) -> None:
        """Send a copy of each message, for its tenant, due in so many seconds; tell of each as soon as it is sent.

        A copy has not been received yet. A worker that dies before the old message is deleted leaves both: the record
        settles that. Failures are reported and not raised.
        """
        async with asyncio.TaskGroup() as group:
            for wait in waits:
                group.create_task(self._send(*wait, on_sent))

    async def _send(
        self, delivery: ReceivedMessage, tenant: str, seconds: float, on_sent: Callable[[ReceivedMessage], None]
    ) -> None:
        # One by one: ten bodies may be more than SendMessageBatch takes, and this is rare.
        try:
            client = await self._connected()
            await client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=delivery.body,
                DelaySeconds=min(math.ceil(seconds), MAX_DELAY_SECONDS),
                MessageGroupId=tenant,
                MessageAttributes=SUSPECT_ATTRIBUTES if delivery.is_suspect else {},
                # The trace of who asked for the task, instead of this worker's own.
                MessageSystemAttributes=_trace_of(delivery),
            )
        except Exception as error:  # noqa: BLE001  # botocore raises many kinds; each means the same here
            self._on_failure(type(error).__name__, 1)
        else:
            on_sent(delivery)

    async def _change(self, batch: Sequence[tuple[ReceivedMessage, float]]) -> None:
        try:
            client = await self._connected()
            answer = await client.change_message_visibility_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {
                        "Id": str(place),
                        "ReceiptHandle": delivery.receipt_handle,
                        "VisibilityTimeout": min(math.ceil(seconds), MAX_VISIBILITY_SECONDS),
                    }
                    for place, (delivery, seconds) in enumerate(batch)
                ],
            )
        except Exception as error:  # noqa: BLE001  # botocore raises many kinds; each means the same here
            self._on_failure(type(error).__name__, len(batch))
            return
        for failure in answer.get("Failed", []):
            self._on_failure(failure["Code"], 1)

    async def _connected(self) -> "SQSClient":
        async with self._opening:
            if self._client is not None:
                return self._client
            aioboto3 = await asyncio.to_thread(importlib.import_module, "aioboto3")
            config = importlib.import_module("aiobotocore.config").AioConfig(**CLIENT)
            client: SQSClient = await self._opened.enter_async_context(aioboto3.Session().client("sqs", config=config))
            self._client = client
            return client

    async def close(self) -> None:
        """Close the client, if there is one."""
        await self._opened.aclose()
        self._client = None


def _trace_of(delivery: ReceivedMessage) -> "SystemAttributes":
    if delivery.trace is None:
        return {}
    return {"AWSTraceHeader": {"DataType": "String", "StringValue": delivery.trace}}
