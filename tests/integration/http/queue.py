"""Read the messages of a queue."""

from typing import TYPE_CHECKING

from common.domain.message import TaskMessage
from common.webhooks.events import WebhookNotification

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Queue:
    """A queue as its reader sees it."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self.url = url

    def events(self) -> list[WebhookNotification]:
        """Take every event there is."""
        events = []
        while found := self._client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for each in found:
                events.append(WebhookNotification.decode(each["Body"]))
                self._client.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
        return events

    def drain(self) -> list[TaskMessage]:
        """Take every message there is, in the order of its task."""
        messages = []
        while found := self._client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
        ).get("Messages"):
            for each in found:
                message = TaskMessage.decode(each["Body"])
                assert each["Attributes"]["MessageGroupId"] == message.task.ref.tenant
                messages.append(message)
            self._client.delete_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(found)],
            )
        return sorted(messages, key=lambda message: (message.task.ref.batch_id, message.task.ref.index))
