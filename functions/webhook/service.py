"""Deliver events: sign, dial, and say what came of it.

An event that was not taken comes back when its next try is due, for a day; each try leaves a receipt. Nothing here
knows more than the message says: no task, no record, no Redis.
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
"""Failures after which no try is made: the receiver wants none, or we do not call there."""


class SecretUnavailable(Unavailable):
    """Nothing can be signed for now."""

    code = "secret_unavailable"


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """Say what came of one try: delivered where there is no code."""

    code: WebhookDeliveryCode | None = None
    status_code: int | None = None


class HeaderSigner(Protocol):
    """Sign."""

    def headers(self, tenant: str, webhook_id: str, now_seconds: int, body: str) -> dict[str, str]:
        """Return the headers that prove where a body comes from, or raise SecretUnavailable."""


class HttpPoster(Protocol):
    """Call."""

    async def post(self, tenant: str, target: Target, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        """Send a body for a tenant and return what came of it, in a bounded time; never raises."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """Hold a message as Lambda hands it over; the body has an address, and stays out of the repr."""

    message_id: str
    receipt_handle: str
    receives: int
    sent_ms: int
    body: str = field(repr=False)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "ReceivedEvent":
        """Read one entry of an SQS event's `Records`."""
        attributes = record["attributes"]
        receives, sent_ms = int(attributes["ApproximateReceiveCount"]), int(attributes["SentTimestamp"])
        return cls(record["messageId"], record["receiptHandle"], receives, sent_ms, record["body"])


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """Say what becomes of an event: it comes back in so many seconds, as the queue likes, or is done with.

    Without a receipt no try was made.
    """

    event: ReceivedEvent
    is_done: bool
    wait: float | None = None
    webhook_id: str | None = None
    receipt: DeliveryReceipt | None = None
    problem: str | None = None


class WebhookSender:
    """Deliver events for any tenant."""

    def __init__(
        self,
        signer: HeaderSigner,
        dialler: HttpPoster,
        schedule: RetrySchedule,
        *,
        now_ms: Callable[[], int],
        allow_loopback: bool,
    ) -> None:
        """Take who signs and who dials, when to try again, and a clock in milliseconds since 1970."""
        self._signer = signer
        self._dialler = dialler
        self._schedule = schedule
        self._now_ms = now_ms
        self._allow_loopback = allow_loopback

    async def deliver(self, event: ReceivedEvent) -> EventOutcome:
        """Make one try; never raises: its neighbours are delivered, and would be again if they came back with it."""
        try:
            announcement = WebhookNotification.decode(event.body)
        except MessageError as error:
            return EventOutcome(event, is_done=False, problem=type(error).__name__)
        try:
            made = await self._attempt(announcement)
        except SecretUnavailable as error:
            return self._untried(event, announcement, str(error))
        except Exception as error:  # noqa: BLE001  # the last resort; logged by type and place
            return self._untried(event, announcement, f"{type(error).__qualname__} at {place_of(error)}")
        return self._outcome(event, announcement, made)

    def _untried(self, event: ReceivedEvent, announcement: WebhookNotification, problem: str) -> EventOutcome:
        wait = self._schedule.wait_after(event.receives, self._age_of(event))
        return EventOutcome(event, is_done=False, wait=wait, webhook_id=announcement.webhook_id, problem=problem)

    async def _attempt(self, announcement: WebhookNotification) -> AttemptResult:
        body = announcement.body()
        headers = self._signer.headers(announcement.tenant, announcement.webhook_id, self._now_ms() // 1000, body)
        try:
            # Once more: the rules may have changed since it was accepted.
            target = target_of(announcement.url, allow_loopback=self._allow_loopback)
        except BadAddress:
            return AttemptResult(WebhookDeliveryCode.ADDRESS_NOT_ALLOWED)
        return await self._dialler.post(announcement.tenant, target, headers, body.encode())

    def _outcome(self, event: ReceivedEvent, announcement: WebhookNotification, made: AttemptResult) -> EventOutcome:
        now_ms, receives = self._now_ms(), event.receives
        wait = None
        if made.code is None:
            delivery = WebhookDelivery(WebhookDeliveryStatus.DELIVERED, receives, made.status_code, None, None, now_ms)
        else:
            if made.code not in FOR_GOOD:
                wait = self._schedule.wait_after(receives, self._age_of(event))
            status = WebhookDeliveryStatus.FAILED if wait is None else WebhookDeliveryStatus.PENDING
            due_ms = None if wait is None else now_ms + int(wait * 1000)
            delivery = WebhookDelivery(status, receives, made.status_code, made.code, due_ms)
        receipt = DeliveryReceipt(announcement.tenant, announcement.batch_id, delivery)
        return EventOutcome(event, is_done=wait is None, wait=wait, webhook_id=announcement.webhook_id, receipt=receipt)

    def _age_of(self, event: ReceivedEvent) -> float:
        return (self._now_ms() - event.sent_ms) / 1000
