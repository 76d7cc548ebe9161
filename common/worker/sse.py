"""Decode the bytes of an answer into JSON objects: server-sent events, or a body of JSON. No network here."""

import json
import re
from typing import Any, Final

type Event = dict[str, Any] | None
"""A JSON object; None for anything else that stands in its place."""

SPARE_BYTES: Final = 1024 * 1024
SPARE_TIMES: Final = 4
"""How much of a body is decoded in vain, in bytes and in times its size, to see whether it can end where it does."""

_DONE: Final = b"[DONE]"
_FIELD: Final = re.compile(rb"[A-Za-z0-9_-]*")
_JSON: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class SSEDecoder:
    """Decode server-sent events whose data are JSON objects.

    What the specification (WHATWG HTML, 9.2) says to ignore is ignored: comments, unknown fields and events without
    data. These things differ:

    - A carriage return alone ends no line: to look for it would cost every piece of every answer.
    - A line that is no field is an event that cannot be read: this is no stream of events.
    - A line whose data are a whole object is an event, and `[DONE]` is the end, without the empty line after them: some
      servers leave it out.
    - The data of an event named `error` become its `error`.
    """

    def __init__(self) -> None:
        self.is_done = False
        """Whether `[DONE]` was read: what comes after it is no part of the answer."""
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._is_error = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that end in these bytes."""
        # Not the SDK's lines: it splits as str.splitlines does, also at U+2028, which JSON texts may contain.
        *lines, rest = chunk.split(b"\n")
        events: list[Event] = []
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
        for line in lines:
            self._take(line.removesuffix(b"\r"), events)
            if self.is_done:
                return events
        if rest:
            self._line.append(rest)
        return events

    def finish(self) -> list[Event]:
        """Return the event that the stream has ended in the middle of, if its last line is whole."""
        events: list[Event] = []
        if not self.is_done:
            self._take(b"".join(self._line).removesuffix(b"\r"), events)
            self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        if line.startswith(b"data:"):
            self._take_data(line[5:].strip(), events)
        elif line:
            self._take_other(line, events)
        else:
            self._end_event(events)

    def _take_data(self, data: bytes, events: list[Event]) -> None:
        if not self._data and data.startswith(b"{") and (event := object_of(data)) is not None:
            events.append(self._named(event))
        elif data.strip(b'"').upper() == _DONE:
            self._end_event(events)
            self.is_done = True
        elif data:
            self._data.append(data)

    def _take_other(self, line: bytes, events: list[Event]) -> None:
        name, colon, value = line.partition(b":")
        if name == b"event":
            self._is_error = value.strip() == b"error"
        elif not (colon or name == b"data") or not _FIELD.fullmatch(name):
            events.append(None)

    def _end_event(self, events: list[Event]) -> None:
        if self._data:
            event = object_of(b"\n".join(self._data))
            events.append(None if event is None else self._named(event))
            self._data.clear()
        self._is_error = False

    def _named(self, event: dict[str, Any]) -> Event:
        return {"error": event} if self._is_error and "error" not in event else event


class JSONBodyDecoder:
    """Decode a body of one JSON object, or of several that follow each other."""

    is_done = False

    def __init__(self) -> None:
        self._body = bytearray()
        self._spent = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the objects of the body so far if it can end here: some servers leave the connection open then."""
        self._body += chunk
        size = len(self._body)
        if not chunk.rstrip().endswith(b"}") or self._spent > SPARE_BYTES + SPARE_TIMES * size:
            return []
        events = self._decode()
        if None in events:
            self._spent += size
            return []
        self._body.clear()
        return events

    def finish(self) -> list[Event]:
        """Return the rest."""
        return self._decode()

    def _decode(self) -> list[Event]:
        events: list[Event] = []
        text, is_cut = _text_of(bytes(self._body))
        at = 0
        try:
            while (at := _after_space(text, at)) < len(text):
                value, at = _JSON.raw_decode(text, at)
                events.append(value if isinstance(value, dict) else None)
        except (ValueError, RecursionError):
            is_cut = True
        return [*events, None] if is_cut else events


def _text_of(data: bytes) -> tuple[str, bool]:
    """Decode the text, and tell whether it goes on with something that is none."""
    try:
        return data.decode("utf-8", "surrogatepass"), False
    except UnicodeDecodeError as error:
        return data[: error.start].decode("utf-8", "surrogatepass"), True


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def object_of(data: bytes) -> Event:
    """Parse one JSON object; None where it is none."""
    try:
        # Decoded here: `json.loads` would first guess which encoding bytes have.
        value = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
