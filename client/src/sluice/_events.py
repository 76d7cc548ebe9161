"""The events of `stream`, parsed from server-sent events."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from sluice import _fields
from sluice._exceptions import UnreadableAnswerError
from sluice._fields import Json
from sluice._models import Task, TaskStatus

DEFAULT_RETRY_SECONDS: Final = 0.1
MIN_RETRY_SECONDS: Final = 0.1
"""Minimum wait before the next request, whatever the service says."""
MAX_RETRY_SECONDS: Final = 15.0
"""Maximum wait before the next request, whatever the service says."""
_RETRY: Final = re.compile(r"^retry: *([0-9]{1,6})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The task's status or progress changed. Pass `id` to `stream(after=…)` to continue from here."""

    id: str
    status: TaskStatus
    progress: int = 0
    waiting_on: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append."""

    id: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reset:
    """The text so far belongs to an earlier attempt: discard it."""

    id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The task has ended; this is the last event."""

    id: str
    task: Task


type Event = StatusChanged | Delta | Reset | Ended


def read_events(body: bytes) -> tuple[list[Event], float]:
    """Parse one response; return its events and the seconds before the next request. Unknown events are skipped.

    Raises:
        UnreadableAnswerError: the body is not a stream of Sluice.

    """
    try:
        text = body.decode()
        events = [event for block in re.split(r"\r?\n\r?\n", text) if (event := _event(block)) is not None]
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError("The response is not an event stream of Sluice.") from error
    retry = _RETRY.search(text)
    seconds = int(retry[1]) / 1000 if retry else DEFAULT_RETRY_SECONDS
    return events, min(max(seconds, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS)


def _event(block: str) -> Event | None:
    fields: dict[str, str] = {}
    for line in block.splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")
    at, data = fields.get("id", ""), _data(fields.get("data", "{}"))
    match fields.get("event"):
        case "status":
            return StatusChanged(
                at,
                TaskStatus(_fields.text(data, "status") or ""),
                _fields.whole(data, "progress"),
                _fields.text(data, "waiting_on"),
            )
        case "delta":
            return Delta(at, _fields.text(data, "text") or "")
        case "reset":
            return Reset(at)
        case "ended":
            return Ended(at, Task.of(data))
        case _:
            return None


def _data(text: str) -> Json:
    data: Any = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error for whatever is no stream of ours
    return data
