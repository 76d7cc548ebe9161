"""Encode and decode the messages of the webhook queues: an event to deliver, and the receipt of a try.

Standard library only. Both contain ids, counts and times, and no text of a prompt or an answer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from common.domain.errors import MessageTooNew, MessageUnreadable
from common.domain.task import is_batch_id
from common.domain.tenant import is_tenant
from common.webhooks.model import (
    RESPONSE_EVENTS,
    WebhookDelivery,
    WebhookDeliveryCode,
    WebhookDeliveryStatus,
    WebhookEvent,
)

VERSION: Final = 1

RESPONSE_ID_PREFIX: Final = "resp_"
"""Precedes the ID of its task in the ID of a response."""


@dataclass(frozen=True, slots=True)
class WebhookNotification:
    """An event to deliver: a batch has ended, with the number of its tasks in each final state.

    The repr omits the address, because it may contain a secret of the caller.
    """

    tenant: str
    batch_id: str
    url: str = field(repr=False)
    ended_ms: int
    counts: Mapping[str, int]
    event: WebhookEvent = WebhookEvent.BATCH_COMPLETED

    @property
    def webhook_id(self) -> str:
        """Return the id of the event. It is the same at each try, so receivers can detect repeats."""
        return f"{self.batch_id}.{self.event.rpartition('.')[2]}"

    def body(self) -> str:
        """Write the body of the request: the same bytes at each attempt, because the signature covers them.

        It has the fields of an OpenAI webhook event (`id`, `object`, `created_at` in Unix seconds, `type`, `data.id`),
        so that `client.webhooks.unwrap` of an OpenAI SDK reads it, and the fields of our own beside them.
        """
        ended_at = datetime.fromtimestamp(self.ended_ms // 1000, UTC).replace(microsecond=self.ended_ms % 1000 * 1000)
        event = {
            "id": self.webhook_id,
            "object": "event",
            "created_at": self.ended_ms // 1000,
            "type": self.event,
            "timestamp": ended_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": self._data(),
        }
        return json.dumps(event, separators=(",", ":"))

    def _data(self) -> dict[str, Any]:
        if self.event in RESPONSE_EVENTS:
            task_id = f"{self.batch_id}-0"
            return {"id": f"{RESPONSE_ID_PREFIX}{task_id}", "task_id": task_id}
        return {
            "id": self.batch_id,
            "batch_id": self.batch_id,
            "status": "ended",
            "size": sum(self.counts.values()),
            "counts": dict(self.counts),
            "links": {"batch": f"batches/{self.batch_id}"},
        }

    def undeliverable_receipt(self) -> "DeliveryReceipt":
        """Return the receipt of an abandoned event. It has no attempts: earlier receipts have reported them."""
        return DeliveryReceipt(
            self.tenant,
            self.batch_id,
            WebhookDelivery(WebhookDeliveryStatus.FAILED, code=WebhookDeliveryCode.UNDELIVERABLE),
        )

    def encode(self) -> str:
        """Encode the message as JSON."""
        return json.dumps(
            {
                "v": VERSION,
                "tenant": self.tenant,
                "batch_id": self.batch_id,
                "url": self.url,
                "ended_ms": self.ended_ms,
                "counts": dict(self.counts),
                "event": self.event,
            },
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, body: str) -> "WebhookNotification":
        """Decode a message.

        Raises:
            MessageTooNew, MessageUnreadable: a later version wrote the message, or it is invalid.

        """
        raw = _read(body)
        try:
            counts = {str(name): int(count) for name, count in raw["counts"].items()}
            tenant, batch_id = _batch_in(raw)
            return cls(tenant, batch_id, str(raw["url"]), int(raw["ended_ms"]), counts, WebhookEvent(raw["event"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MessageUnreadable from None


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """The state of the delivery of a batch's event."""

    tenant: str
    batch_id: str
    delivery: WebhookDelivery

    def encode(self) -> str:
        """Encode the message as JSON."""
        delivery = self.delivery
        return json.dumps(
            {
                "v": VERSION,
                "tenant": self.tenant,
                "batch_id": self.batch_id,
                "status": delivery.status,
                "attempts": delivery.attempts,
                "status_code": delivery.status_code,
                "code": delivery.code,
                "next_attempt_ms": delivery.next_attempt_ms,
                "delivered_ms": delivery.delivered_ms,
            },
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, body: str) -> "DeliveryReceipt":
        """Decode a message.

        Raises:
            MessageTooNew, MessageUnreadable: a later version wrote the message, or it is invalid.

        """
        raw = _read(body)
        try:
            delivery = WebhookDelivery(
                WebhookDeliveryStatus(raw["status"]),
                int(raw["attempts"]),
                _number(raw["status_code"]),
                None if raw["code"] is None else WebhookDeliveryCode(raw["code"]),
                _number(raw["next_attempt_ms"]),
                _number(raw["delivered_ms"]),
            )
            return cls(*_batch_in(raw), delivery)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MessageUnreadable from None


def _read(body: str) -> dict[str, Any]:
    try:
        raw = json.loads(body)
        version = raw["v"]
    except (ValueError, KeyError, TypeError, RecursionError):
        # `from None`: the JSON error's text quotes the body, which contains an address.
        raise MessageUnreadable from None
    if not isinstance(version, int) or version > VERSION:
        raise MessageTooNew
    found: dict[str, Any] = raw
    return found


def _batch_in(raw: Mapping[str, Any]) -> tuple[str, str]:
    tenant, batch_id = str(raw["tenant"]), str(raw["batch_id"])
    if not is_tenant(tenant) or not is_batch_id(batch_id):
        raise ValueError
    return tenant, batch_id


def _number(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int):
        raise TypeError
    return value
