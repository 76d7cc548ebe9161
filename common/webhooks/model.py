"""Say what a webhook is: where to send which events, what an address must be, and how far a delivery has got.

Standard library only: tasks carry it, and every function imports this module at its cold start.
"""

import ipaddress
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

LONGEST_URL: Final = 2_048
"""Characters of an address; each message of the batch carries it."""

HTTPS_PORT: Final = 443
LOWEST_OTHER_PORT: Final = 1_024
"""Below, other protocols live: no HTTPS server that anybody is told of is there."""

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 253
_IPV4: Final = 4
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("2001::/32", "2002::/16", "192.88.99.0/24", "3fff::/20")))
"""What `is_global` lets pass: Teredo, 6to4 and its relays, in which another address is hidden, and documentation."""

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookEvent(StrEnum):
    """Name what is told. The values are part of the API and never change."""

    BATCH_COMPLETED = "batch.completed"
    """The last task of the batch has ended, however it did."""


class WebhookDeliveryStatus(StrEnum):
    """Name how far the delivery of an event has got."""

    PENDING = "pending"
    """It is not due yet, or will be tried again."""
    DELIVERED = "delivered"
    """The receiver has answered with 2xx."""
    FAILED = "failed"
    """It will not be tried again."""


class WebhookDeliveryCode(StrEnum):
    """Name why a try failed. The values are part of the API and never change."""

    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    """The host's name leads, or leads also, to an address that is not public."""
    NAME_NOT_RESOLVED = "name_not_resolved"
    """The host's name leads nowhere, or was not resolved in time."""
    CONNECTION = "connection"
    """No connection, or it broke before the answer."""
    TLS = "tls"
    """The certificate is not this host's, or nobody known vouches for it."""
    TIMEOUT = "timeout"
    """No answer in time."""
    UNREADABLE_ANSWER = "unreadable_answer"
    """The answer was not HTTP."""
    REDIRECT = "redirect"
    """The answer leads elsewhere, which is not followed."""
    REFUSED = "refused"
    """The answer was neither 2xx nor one of the others here; `status_code` has it."""
    GONE = "gone"
    """410: the receiver wants no more."""
    UNDELIVERABLE = "undeliverable"
    """The function that makes the tries could not run, or could not sign, for so long that its queue has given up."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Say where to send what. The address may hold a secret of the caller's, and so stays out of the repr."""

    url: str = field(repr=False)
    events: tuple[WebhookEvent, ...] = (WebhookEvent.BATCH_COMPLETED,)

    def encode(self) -> str:
        """Write it as JSON."""
        return json.dumps({"url": self.url, "events": self.events}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> "Webhook":
        """Read what `encode` wrote; raise ValueError, KeyError or TypeError for anything else."""
        raw = json.loads(text)
        return cls(str(raw["url"]), tuple(WebhookEvent(event) for event in raw["events"]))


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """Show how far a delivery has got, after so many tries; times are milliseconds since 1970."""

    status: WebhookDeliveryStatus = WebhookDeliveryStatus.PENDING
    attempts: int = 0
    status_code: int | None = None
    code: WebhookDeliveryCode | None = None
    next_attempt_ms: int | None = None
    delivered_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Hold an address in its parts, ready to be dialled once its host is looked up."""

    host: str
    port: int
    path: str = field(repr=False)
    is_tls: bool = True


class BadAddress(ValueError):
    """The address breaks a rule, which the text says without quoting the address."""


def target_of(url: str, *, allow_loopback: bool) -> Target:
    """Read an address and hold it against the rules that need no look-up.

    With `allow_loopback`, which is for a laptop, http may be spoken to this machine.

    Raises:
        BadAddress: the rule that it breaks.

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
    """Tell whether an address may be dialled: it is public, and itself, not a wrapping of another one."""
    if allow_loopback and address.is_loopback:
        return True
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    # Outside of 2000::/3 are IPv4-mapped and -compatible addresses, NAT64 and all that is local.
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
    # `localhost` and other names of one label are a network's own; a number at the end is an IPv4 address in disguise.
    if len(labels) == 1 or labels[-1].isdecimal() or labels[-1].startswith("0x"):
        raise BadAddress("must have a public host")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
