"""Sans-I/O building blocks: requests, waits and results as values.

Each operation is written once, as a generator that yields an effect and receives its result. A transport performs the
effects, with blocking calls or with asyncio: see _transports.py.
"""

from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice._exceptions import SluiceError


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; its result is a Response or a TransportError. The transport adds the key.

    `hold` is how many seconds the service may hold the request; the read timeout is extended by it.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TakeItems:
    """Take at most `count` items from the caller's iterable; the result is a list, empty at the end."""

    source: Iterator[Any] | AsyncIterator[Any]
    count: int


@dataclass(frozen=True, slots=True)
class YieldItem[T]:
    """Yield a value to the caller of an iteration."""

    value: T


class TransportError(SluiceError):
    """No response arrived; the text says why."""


type Effect = Request | Sleep | TakeItems
type Operation[T] = Generator[Effect, Any, T]
"""Something to do that ends with a value."""
type Iteration[T] = Generator[Effect | YieldItem[T], Any]
"""Something to iterate over."""
