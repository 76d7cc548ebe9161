"""Deliver webhook events: sign, post and return the outcome.

An event that was not delivered is retried for a day. Each try produces a receipt. This module uses only the message: no
task, no record, no Redis.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from common.domain.errors import MessageError, Unavailable
from common.runtime.telemetry import place_of
from common.webhooks.events import DeliveryReceipt, WebhookNotification
from common.webhooks.model import (
    BadAddress,
    Target,
    WebhookDelivery,
    WebhookDeliveryCode,
    WebhookDeliveryStatus,
    target_of,
)
from functions.webhook.retry_schedule import RetrySchedule

FOR_GOOD: Final = frozenset({WebhookDeliveryCode.GONE, WebhookDeliveryCode.ADDRESS_NOT_ALLOWED})
"""Permanent failures: the receiver rejects further events, or the address is not allowed."""


class SecretUnavailable(Unavailable):
    """The signing secret is unavailable."""

    code = "secret_unavailable"


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of one try; without a code the event was delivered."""

    code: WebhookDeliveryCode | None = None
    status_code: int | None = None


class HeaderSigner(Protocol):
    """Signer of requests."""

    def headers(self, tenant: str, webhook_id: str, now_seconds: int, body: str) -> dict[str, str]:
        """Return the signature headers of a body; may raise SecretUnavailable."""


class HttpPoster(Protocol):
    """HTTP client for webhooks."""

    async def post(self, tenant: str, target: Target, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        """Post a body for a tenant and return the result within a time limit; never raises."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A message of an SQS event. The repr omits the body, because it contains an address."""

    message_id: str
    receipt_handle: str
    receives: int
    sent_ms: int
    body: str = field(repr=False)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "ReceivedEvent":
        """Parse one entry of an SQS event's `Records`."""
        attributes = record["attributes"]
        receives, sent_ms = int(attributes["ApproximateReceiveCount"]), int(attributes["SentTimestamp"])
        return cls(record["messageId"], record["receiptHandle"], receives, sent_ms, record["body"])


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """The outcome of an event: done, or redelivered after `wait` seconds (None: after the visibility timeout).

    Without a receipt no try was made.
    """

    event: ReceivedEvent
    is_done: bool
    wait: float | None = None
    webhook_id: str | None = None
    receipt: DeliveryReceipt | None = None
    problem: str | None = None


class WebhookSender:
    """Deliver events of all tenants."""

    def __init__(
        self,
        signer: HeaderSigner,
        http_client: HttpPoster,
        schedule: RetrySchedule,
        *,
        now_ms: Callable[[], int],
        allow_loopback: bool,
    ) -> None:
        """Create a sender.

        Args:
            signer: signs requests.
            http_client: posts them.
            schedule: the retry schedule.
            now_ms: clock in milliseconds since 1970.
            allow_loopback: whether loopback addresses are allowed.

        """
        self._signer = signer
        self._http_client = http_client
        self._schedule = schedule
        self._now_ms = now_ms
        self._allow_loopback = allow_loopback

    async def deliver(self, event: ReceivedEvent) -> EventOutcome:
        """Make one try; never raises, because an exception would redeliver the other events of the batch too."""
        try:
            notification = WebhookNotification.decode(event.body)
        except MessageError as error:
            return EventOutcome(event, is_done=False, problem=type(error).__name__)
        try:
            result = await self._attempt(notification)
        except SecretUnavailable as error:
            return self._untried(event, notification, str(error))
        except Exception as error:  # noqa: BLE001  # the last resort; logged by type and place
            return self._untried(event, notification, f"{type(error).__qualname__} at {place_of(error)}")
        return self._outcome(event, notification, result)

    def _untried(self, event: ReceivedEvent, notification: WebhookNotification, problem: str) -> EventOutcome:
        wait = self._schedule.wait_after(event.receives, self._age_of(event))
        return EventOutcome(event, is_done=False, wait=wait, webhook_id=notification.webhook_id, problem=problem)

    async def _attempt(self, notification: WebhookNotification) -> AttemptResult:
        body = notification.body()
        headers = self._signer.headers(notification.tenant, notification.webhook_id, self._now_ms() // 1000, body)
        try:
            # Checked again: the rules may have changed since the call was accepted.
            target = target_of(notification.url, allow_loopback=self._allow_loopback)
        except BadAddress:
            return AttemptResult(WebhookDeliveryCode.ADDRESS_NOT_ALLOWED)
        return await self._http_client.post(notification.tenant, target, headers, body.encode())

    def _outcome(self, event: ReceivedEvent, notification: WebhookNotification, result: AttemptResult) -> EventOutcome:
        now_ms, receives = self._now_ms(), event.receives
        wait = None
        if result.code is None:
            delivery = WebhookDelivery(
                WebhookDeliveryStatus.DELIVERED, receives, result.status_code, None, None, now_ms
            )
        else:
            if result.code not in FOR_GOOD:
                wait = self._schedule.wait_after(receives, self._age_of(event))
            status = WebhookDeliveryStatus.FAILED if wait is None else WebhookDeliveryStatus.PENDING
            due_ms = None if wait is None else now_ms + int(wait * 1000)
            delivery = WebhookDelivery(status, receives, result.status_code, result.code, due_ms)
        receipt = DeliveryReceipt(notification.tenant, notification.batch_id, delivery)
        return EventOutcome(event, is_done=wait is None, wait=wait, webhook_id=notification.webhook_id, receipt=receipt)

    def _age_of(self, event: ReceivedEvent) -> float:
        return (self._now_ms() - event.sent_ms) / 1000
