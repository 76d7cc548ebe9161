"""Define webhooks: their address and events, the rules for an address, and the state of a delivery.

Standard library only: tasks contain webhooks, so every function imports this module at its cold start.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

LONGEST_URL: Final = 2_048
"""Maximum length of an address in characters; each message of the batch contains it."""

HTTPS_PORT: Final = 443
LOWEST_OTHER_PORT: Final = 1_024
"""Lower ports belong to other protocols, except HTTPS_PORT."""

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 253
_IPV4: Final = 4
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("2001::/32", "2002::/16", "192.88.99.0/24", "3fff::/20")))
"""Networks that `is_global` accepts: documentation; Teredo, 6to4 and its relays, which embed another address."""

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookEvent(StrEnum):
    """The kinds of events. The values are part of the API and never change."""

    BATCH_COMPLETED = "batch.completed"
    """The last task of the batch has ended, in any final state."""
    RESPONSE_COMPLETED = "response.completed"
    """A response of the OpenAI-compatible endpoints is complete."""
    RESPONSE_INCOMPLETE = "response.incomplete"
    """The response ended at its token limit."""
    RESPONSE_FAILED = "response.failed"
    """There will be no response."""
    RESPONSE_CANCELLED = "response.cancelled"
    """The response was cancelled before it ended."""


BATCH_EVENTS: Final = (WebhookEvent.BATCH_COMPLETED,)
"""The events that a batch can have."""

RESPONSE_EVENTS: Final = (
    WebhookEvent.RESPONSE_COMPLETED,
    WebhookEvent.RESPONSE_INCOMPLETE,
    WebhookEvent.RESPONSE_FAILED,
    WebhookEvent.RESPONSE_CANCELLED,
)
"""The events of a response, of which each has one."""


class WebhookDeliveryStatus(StrEnum):
    """The states of the delivery of an event."""

    PENDING = "pending"
    """The event is not due yet, or will be tried again."""
    DELIVERED = "delivered"
    """The receiver has answered with 2xx."""
    FAILED = "failed"
    """The event will not be tried again."""


class WebhookDeliveryCode(StrEnum):
    """The reasons for a failed try. The values are part of the API and never change."""

    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    """At least one address of the host is not public."""
    NAME_NOT_RESOLVED = "name_not_resolved"
    """The host's name has no address, or was not resolved in time."""
    CONNECTION = "connection"
    """The connection failed, or broke before the response."""
    TLS = "tls"
    """The certificate is not valid for this host, or its authority is unknown."""
    TIMEOUT = "timeout"
    """No response in time."""
    UNREADABLE_ANSWER = "unreadable_answer"
    """The response was not HTTP."""
    REDIRECT = "redirect"
    """The response is a redirect, which is not followed."""
    REFUSED = "refused"
    """Another status than 2xx and those above; see `status_code`."""
    GONE = "gone"
    """410: the receiver rejects further events."""
    UNDELIVERABLE = "undeliverable"
    """The webhook function could not run or sign, until the event was moved to the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address and its events. The repr omits the address, because it may contain a secret of the caller."""

    url: str = field(repr=False)
    events: tuple[WebhookEvent, ...] = BATCH_EVENTS

    def encode(self) -> str:
        """Encode the webhook as JSON."""
        return json.dumps({"url": self.url, "events": self.events}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> "Webhook":
        """Decode the result of `encode`; raise ValueError, KeyError or TypeError for anything else."""
        raw = json.loads(text)
        return cls(str(raw["url"]), tuple(WebhookEvent(event) for event in raw["events"]))

    def event_of(self, counts: Mapping[str, int], *, is_truncated: bool) -> WebhookEvent:
        """Return the event of a batch that ended with these counts of its tasks by their final state."""
        if WebhookEvent.RESPONSE_COMPLETED not in self.events:
            return WebhookEvent.BATCH_COMPLETED
        if counts.get("failed"):
            return WebhookEvent.RESPONSE_FAILED
        if counts.get("cancelled"):
            return WebhookEvent.RESPONSE_CANCELLED
        return WebhookEvent.RESPONSE_INCOMPLETE if is_truncated else WebhookEvent.RESPONSE_COMPLETED


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """The state of a delivery and the number of tries; times in milliseconds since 1970."""

    status: WebhookDeliveryStatus = WebhookDeliveryStatus.PENDING
    attempts: int = 0
    status_code: int | None = None
    code: WebhookDeliveryCode | None = None
    next_attempt_ms: int | None = None
    delivered_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed address; its host is not yet resolved."""

    host: str
    port: int
    path: str = field(repr=False)
    is_tls: bool = True


class BadAddress(ValueError):
    """The address violates a rule; the text gives the rule without quoting the address."""


def target_of(url: str, *, allow_loopback: bool) -> Target:
    """Parse an address and check the rules that need no lookup.

    With `allow_loopback`, which is for a local stack, loopback hosts and http to them are allowed.

    Raises:
        BadAddress: the address violates a rule.

    """
    if len(url) > LONGEST_URL:
        raise BadAddress(f"has more than {LONGEST_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise BadAddress("must be printable ASCII: write other letters percent-encoded, and a name as punycode")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        # `from None`: the error quotes the address.
        raise BadAddress("is no address") from None
    if "[" in parts.netloc and _literal(host) is None:
        raise BadAddress("is no address")
    is_here = allow_loopback and _is_loopback(host)
    if parts.scheme != "https" and not (is_here and parts.scheme == "http"):
        raise BadAddress("must begin with https://")
    if "@" in parts.netloc:
        raise BadAddress("must have no user name or password")
    if "#" in url:
        raise BadAddress("must have no fragment")
    _check_host(host, is_here=is_here)
    is_tls = parts.scheme == "https"
    port = port if port is not None else HTTPS_PORT if is_tls else 80
    if not is_here and port != HTTPS_PORT and port < LOWEST_OTHER_PORT:
        raise BadAddress(f"must have the port {HTTPS_PORT}, or one from {LOWEST_OTHER_PORT} on")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port, path, is_tls)


def is_allowed(address: Address, *, allow_loopback: bool) -> bool:
    """Return whether an address may be connected to: it is public and does not embed another address."""
    if allow_loopback and address.is_loopback:
        return True
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    # Outside 2000::/3 are IPv4-mapped and IPv4-compatible addresses, NAT64 and all local addresses.
    return address.version == _IPV4 or address in _GLOBAL_UNICAST


def _is_loopback(host: str) -> bool:
    address = _literal(host)
    return host == "localhost" if address is None else address.is_loopback


def _check_host(host: str, *, is_here: bool) -> None:
    if is_here:
        return
    address = _literal(host)
    if address is not None:
        if not is_allowed(address, allow_loopback=False):
            raise BadAddress("must have a public address")
        return
    labels = host.split(".")
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadAddress("must have a host")
    # Names of one label, such as `localhost`, are local to a network. A number at the end makes it an IPv4 address.
    if len(labels) == 1 or labels[-1].isdecimal() or labels[-1].startswith("0x"):
        raise BadAddress("must have a public host")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
