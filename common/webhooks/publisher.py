"""Send events to the webhook queue. It is in the layer, because every function that ends a task may send one.

The import of boto3 takes a third of a second, and few calls send an event. So boto3 is imported for the first event.
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
    """Publisher to one queue; one instance for the lifetime of the environment."""

    def __init__(self, url: str, client: "SQSClient | None" = None) -> None:
        """Create a publisher from the queue's URL; without a client it creates one for the first event."""
        self._url = url
        self._client = client

    async def publish(self, notification: WebhookNotification) -> None:
        """Send one event.

        Raises:
            QueueUnavailable: SQS did not confirm the event; it may have been sent.

        """
        try:
            await asyncio.to_thread(self._send, notification)
        except Exception as error:  # noqa: BLE001  # botocore raises many types; all mean that the send failed
            # `from None`: their texts may quote the message.
            raise QueueUnavailable(type(error).__name__) from None

    def _send(self, notification: WebhookNotification) -> None:
        if self._client is None:
            self._client = _new_client()
        self._client.send_message(
            QueueUrl=self._url, MessageBody=notification.encode(), MessageGroupId=notification.tenant
        )


def _new_client() -> Any:  # noqa: ANN401  # boto3's clients are made at run time
    config = importlib.import_module("botocore.config").Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
    )
    return importlib.import_module("boto3").client("sqs", config=config)
