"""Check where a caller wants events sent."""

from common.domain.errors import InvalidRequest
from common.webhooks.model import BadAddress, Webhook, WebhookEvent, target_of
from functions.submit.schema import WebhookBody


def read_webhook(body: WebhookBody | None, *, allow_loopback: bool) -> Webhook | None:
    """Return the webhook of a call; None where it has none. What its name leads to is checked when it is called.

    Raises:
        InvalidRequest: the address may not be called, or there is no such event.

    """
    if body is None:
        return None
    try:
        target_of(body.url, allow_loopback=allow_loopback)
    except BadAddress as rule:
        raise InvalidRequest(str(rule), pointer="/webhook/url", code="invalid_webhook_url") from None
    for place, event in enumerate(body.events or []):
        if event not in set(WebhookEvent):
            raise InvalidRequest(
                f"must be one of {', '.join(WebhookEvent)}", pointer=f"/webhook/events/{place}", code="unknown_event"
            )
    return Webhook(body.url, tuple(map(WebhookEvent, body.events or WebhookEvent)))
