"""Bring events back when their next try is due, and send the receipts of those that were made."""

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from functions.webhook.service import EventOutcome

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

CLIENT: Final = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=10,
)
"""How the client has to be made; times are in seconds. A try's 15 s and this must end before the function does."""


class WebhookQueues:
    """Speak to both queues. Failures are told and not raised: an event then comes back when the queue likes."""

    def __init__(
        self, client: "SQSClient", webhook_url: str, receipt_url: str, on_failure: Callable[[str], object]
    ) -> None:
        """Take a boto3 client, which threads may share, both addresses, and who is told an error's code."""
        self._client = client
        self._webhook_url = webhook_url
        self._receipt_url = receipt_url
        self._on_failure = on_failure

    async def finish(self, outcome: EventOutcome) -> None:
        """Set when an event that was tried comes back, and send the receipt."""
        await asyncio.to_thread(self._settle, outcome)

    def _settle(self, outcome: EventOutcome) -> None:
        try:
            if outcome.wait is not None:
                self._client.change_message_visibility(
                    QueueUrl=self._webhook_url,
                    ReceiptHandle=outcome.event.receipt_handle,
                    VisibilityTimeout=math.ceil(outcome.wait),
                )
            if outcome.receipt is not None:
                # A fair queue: no tenant's receipts delay another's.
                self._client.send_message(
                    QueueUrl=self._receipt_url,
                    MessageBody=outcome.receipt.encode(),
                    MessageGroupId=outcome.receipt.tenant,
                )
        except (BotoCoreError, ClientError) as error:
            self._on_failure(type(error).__name__)
