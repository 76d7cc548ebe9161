"""Put events on the webhooks' queue. It is in the layer: whoever ends a task may have to.

boto3 takes a third of a second to import, and few calls have an event to send: it is loaded with the first.
"""

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Final

from common.domain.errors import QueueUnavailable
from common.webhooks.events import WebhookNotification

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

CONNECT_SECONDS: Final = 2
READ_SECONDS: Final = 5
TRIES: Final = 2


class WebhookPublisher:
    """Send to one queue; one for the life of the environment."""

    def __init__(self, url: str, client: "SQSClient | None" = None) -> None:
        """Take the queue's URL; without a client one is made when it is needed."""
        self._url = url
        self._client = client

    async def publish(self, announcement: WebhookNotification) -> None:
        """Send one event.

        Raises:
            QueueUnavailable: SQS did not take it; it may have been sent even so.

        """
        try:
            await asyncio.to_thread(self._send, announcement)
        except Exception as error:  # noqa: BLE001  # botocore raises many kinds; each means the same here
            # `from None`: their texts may quote the message.
            raise QueueUnavailable(type(error).__name__) from None

    def _send(self, announcement: WebhookNotification) -> None:
        if self._client is None:
            self._client = _new_client()
        self._client.send_message(
            QueueUrl=self._url, MessageBody=announcement.encode(), MessageGroupId=announcement.tenant
        )


def _new_client() -> Any:  # noqa: ANN401  # boto3's clients are made at run time
    config = importlib.import_module("botocore.config").Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
    )
    return importlib.import_module("boto3").client("sqs", config=config)
