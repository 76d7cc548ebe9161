"""Send task messages to SQS: as few calls as its limits allow, several at once, and what it refuses once more."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.domain.errors import QueueUnavailable
from common.domain.message import TaskMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef as Entry

MOST_ENTRIES: Final = 10
"""Messages in one SendMessageBatch."""

MOST_BYTES: Final = 1_048_576 - 16_384
"""Bytes of all messages in one SendMessageBatch: its 1 MiB, less what the attributes of ten messages may take."""

THREADS: Final = 10
"""Calls at once: a thousand messages are a hundred calls of about 20 ms. The client needs as many connections."""

CLIENT: Final = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=THREADS,
)
"""How the client has to be made; times are in seconds."""

PAUSES: Final = (0.1, 0.4)
"""Seconds before what SQS has refused inside a batch is sent again."""

MOST_SECONDS: Final = 12
"""For all of it; the caller's connection is cut after 29 s, and a failure has to be recorded before."""


class SqsTaskQueue:
    """Send to one queue. SQS fair queues use `MessageGroupId`: no tenant's backlog delays another tenant's tasks."""

    def __init__(
        self,
        client: "SQSClient",
        url: str,
        *,
        on_sent: Callable[[int], None] | None = None,
        pauses: Sequence[float] = PAUSES,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        """Create the queue.

        Args:
            client: a boto3 client; threads share it.
            url: the queue's URL.
            on_sent: receives the number of messages before each send.
            pauses: seconds before refused messages are sent again.
            most_seconds: the bound of all sends.

        """
        self._on_sent = on_sent or (lambda _: None)
        self._most_seconds = most_seconds
        self._client = client
        self._url = url
        self._pauses = pauses
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sqs")

    async def send(self, messages: Sequence[TaskMessage]) -> None:
        """Send all messages, in any order.

        Raises:
            QueueUnavailable: SQS did not answer or kept refusing; some of the messages may have been sent.

        """
        unsent: list[Entry] = [
            {"Id": str(place), "MessageBody": message.encode(), "MessageGroupId": message.task.ref.tenant}
            for place, message in enumerate(messages)
        ]
        self._on_sent(len(unsent))
        try:
            async with asyncio.timeout(self._most_seconds):
                unsent = await self._send_once(unsent)
                for pause in self._pauses:
                    if not unsent:
                        break
                    await asyncio.sleep(pause)
                    unsent = await self._send_once(unsent)
        except (BotoCoreError, ClientError, TimeoutError) as error:
            raise QueueUnavailable(type(error).__name__) from error
        if unsent:
            raise QueueUnavailable("SendMessageBatch kept refusing messages")

    async def _send_once(self, entries: "list[Entry]") -> "list[Entry]":
        """Return the entries that SQS has refused."""
        loop = asyncio.get_running_loop()
        sends = (loop.run_in_executor(self._threads, self._send_pack, pack) for pack in packs(entries))
        # Wait for all, also if one fails: what is taken back afterwards should not be on its way any more.
        answers = await asyncio.gather(*sends, return_exceptions=True)
        refused: list[Entry] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            refused += answer
        return refused

    def _send_pack(self, pack: "list[Entry]") -> "list[Entry]":
        answer = self._client.send_message_batch(QueueUrl=self._url, Entries=pack)
        # The answer is 200 even if every single message was refused.
        refused = {failure["Id"] for failure in answer.get("Failed", [])}
        return [entry for entry in pack if entry["Id"] in refused]


def packs(entries: "Sequence[Entry]") -> "Iterator[list[Entry]]":
    """Cut entries, in their order, into lists that SendMessageBatch takes. Bodies are ASCII: a character is a byte."""
    pack: list[Entry] = []
    size = 0
    for entry in entries:
        length = len(entry["MessageBody"])
        if pack and (len(pack) == MOST_ENTRIES or size + length > MOST_BYTES):
            yield pack
            pack, size = [], 0
        pack.append(entry)
        size += length
    if pack:
        yield pack
