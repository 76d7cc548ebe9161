"""Hold what every endpoint reads of an HTTP request, and what it names in a redirect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from common.api.auth_context import Caller
from common.api.http import caller_of
from common.api.json_body import read_body
from common.api.long_poll import MOST_SECONDS, read_wait_seconds
from common.domain.errors import InvalidRequest

MOST_HOPS: Final = 18
"""Redirects of one call, at most. The SDKs follow 20, and repeat the POST after the last of them."""

SHORTEST_HOP_SECONDS: Final = 1
"""The wait of a redirected call, at least: an immediate response would use up its redirects at once."""


@dataclass(frozen=True, slots=True)
class OpenAICall:
    """Hold one request.

    `hop` is the number of redirects that led to it, `hold_seconds` the longest wait of this hop, `wait_seconds` that of
    a call which is held only where it says so. `retry_count` is how often the SDK has sent it before.
    """

    caller: Caller
    request_id: str
    query: Mapping[str, Sequence[str]]
    hold_seconds: int
    hop: int
    body: str | None = field(default=None, repr=False)
    is_base64: bool = False
    idempotency_key: str | None = field(default=None, repr=False)
    retry_count: int = 0
    wait_seconds: int = 0

    @classmethod
    def of(cls, event: APIGatewayProxyEvent, request_id: str) -> "OpenAICall":
        """Read the request.

        Raises:
            InvalidRequest: `hop` is no number of redirects.

        """
        query = event.resolved_query_string_parameters
        hop = _hop_of(query)
        prefer = event.headers.get("Prefer")
        seconds = read_wait_seconds(prefer, default=MOST_SECONDS)
        retry_count = event.headers.get("x-stainless-retry-count") or ""
        return cls(
            caller_of(event),
            request_id,
            query,
            max(seconds, SHORTEST_HOP_SECONDS) if hop else seconds,
            hop,
            event.body,
            is_base64=bool(event.is_base64_encoded),
            idempotency_key=event.headers.get("Idempotency-Key"),
            retry_count=int(retry_count) if retry_count.isascii() and retry_count.isdigit() else 0,
            wait_seconds=read_wait_seconds(prefer, default=0),
        )

    @property
    def has_hop_left(self) -> bool:
        """Return whether the call may be redirected once more."""
        return self.hop < MOST_HOPS

    def document(self) -> object:
        """Return the body as JSON; raise InvalidRequest where it is none."""
        return read_body(self.body, is_base64=self.is_base64)

    def location(self, path: str, **query: str) -> str:
        """Return the address of the next hop, relative to this one."""
        return f"{path}?{urlencode({'hop': str(self.hop + 1), **query})}"

    def flag(self, name: str) -> bool:
        """Return whether a parameter of the query is `true`."""
        return self.query.get(name, [""])[-1] == "true"


def _hop_of(query: Mapping[str, Sequence[str]]) -> int:
    text = query.get("hop", ["0"])[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_HOPS)) and int(text) <= MOST_HOPS):
        raise InvalidRequest(f"hop must be from 0 to {MOST_HOPS}", pointer="/hop", code="invalid_value")
    return int(text)
