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
    """An HTTP request, to be answered by an Answer or a TransportError; the key is the driver's to add.

    `hold` is for how many seconds the service may keep it, which counts for no timeout.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer, read to its end; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let some seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TakeItems:
    """Take the next items of what a caller gave, at most so many: a list, empty at the end."""

    source: Iterator[Any] | AsyncIterator[Any]
    count: int


@dataclass(frozen=True, slots=True)
class YieldItem[T]:
    """Hand something to whoever iterates."""

    value: T


class TransportError(SluiceError):
    """The driver got no answer; the text says why, for people."""


type Effect = Request | Sleep | TakeItems
type Operation[T] = Generator[Effect, Any, T]
"""Something to do that ends with a value."""
type Iteration[T] = Generator[Effect | YieldItem[T], Any]
"""Something to iterate over."""
