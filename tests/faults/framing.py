"""Split a byte stream into requests of Redis or of HTTP/1.1."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

type Framer = type["RedisRequests | HttpRequests"]


class _Requests(ABC):
    """Keep what has come of the next request."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes as they come, and yield each request that is whole by now."""
        self._left += data
        while (end := self._end()) is not None:
            yield self._left[:end]
            self._left = self._left[end:]

    @abstractmethod
    def _end(self) -> int | None:
        """Say where the first request ends, None as long as it has not."""


class RedisRequests(_Requests):
    """Yield Redis commands, each an array of bulk strings."""

    def _end(self) -> int | None:
        place = self._left.find(b"\r\n")
        if place < 0:
            return None
        strings = int(self._left[1:place])
        place += 2
        for _ in range(strings):
            line_end = self._left.find(b"\r\n", place)
            if line_end < 0:
                return None
            place = line_end + 2 + int(self._left[place + 1 : line_end]) + 2
        return place if place <= len(self._left) else None


class HttpRequests(_Requests):
    """Yield HTTP requests whose bodies have a Content-Length, as those of every client here have."""

    def _end(self) -> int | None:
        head_end = self._left.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        end = head_end + 4 + _content_length(self._left[:head_end])
        return end if end <= len(self._left) else None


def is_whole_message(data: bytes) -> bool:
    """Tell whether these bytes are all of an HTTP message."""
    return any(HttpRequests().feed(data))


def _content_length(head: bytes) -> int:
    """Read the length of a message's body."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
