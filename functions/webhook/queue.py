"""Schedule the redelivery of events, and send the receipts of tries."""

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
"""Configuration of the SQS client; times in seconds. A try's 15 s plus these must be below the function's timeout."""


class WebhookQueues:
    """Client of both queues. It reports failures and raises none: SQS then redelivers after its visibility timeout."""

    def __init__(
        self, client: "SQSClient", webhook_url: str, receipt_url: str, on_failure: Callable[[str], object]
    ) -> None:
        """Create the client.

        Args:
            client: a boto3 SQS client, which is thread-safe.
            webhook_url: URL of the queue of events.
            receipt_url: URL of the queue of receipts.
            on_failure: callback with the name of an error.

        """
        self._client = client
        self._webhook_url = webhook_url
        self._receipt_url = receipt_url
        self._on_failure = on_failure

    async def finish(self, outcome: EventOutcome) -> None:
        """Set the delay until the next try of an event, and send the receipt."""
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
                # The group makes it a fair queue: one tenant's receipts do not delay another's.
                self._client.send_message(
                    QueueUrl=self._receipt_url,
                    MessageBody=outcome.receipt.encode(),
                    MessageGroupId=outcome.receipt.tenant,
                )
        except (BotoCoreError, ClientError) as error:
            self._on_failure(type(error).__name__)
