"""Show a task as server-sent events, from the caller's cursor. A response is one step, and is held until it exists.

Each event's id is a cursor, `attempt.characters.status`: what the caller knows once it has read the event. A browser's
EventSource sends the last one back by itself. Source of the format: https://html.spec.whatwg.org/#server-sent-events
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from common.api.long_poll import MOST_SECONDS, POLL_SECONDS, HeldCalls, Notification
from common.api.missing import missing_task
from common.api.pagination import MOST_BYTES, cut, fitting, size_of
from common.api.serializers import show_task
from common.domain.errors import InvalidRequest
from common.domain.task import TaskRecord, TaskRef

RETRY_MS: Final = 100
"""After how many milliseconds an EventSource asks for the next step: the step itself waits."""

UNHELD_RETRY_MS: Final = 2_000
"""The same where the step did not wait: a worker writes progress once a second, and each question costs a call."""

UNHELD_STEP: Final = f"retry: {UNHELD_RETRY_MS}\n: not held\n\n"
"""A step without events that did not wait."""

_CURSOR: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,9})\.([a-z]{1,10})")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Hold what a caller knows: so many characters of the text of an attempt, and a status; None is not known."""

    attempt: int | None = None
    characters: int = 0
    status: str | None = None


def cursor_of(last_event_id: str | None, query: Mapping[str, Sequence[str]]) -> Cursor:
    """Read the caller's cursor: `Last-Event-ID`, or else `starting_after`, an id or a number of characters.

    Raises:
        InvalidRequest: it is neither.

    """
    text = last_event_id or query.get("starting_after", [""])[-1]
    if match := _CURSOR.fullmatch(text):
        return Cursor(int(match[1]), int(match[2]), match[3])
    if text and not _NUMBER.fullmatch(text):
        raise InvalidRequest("starting_after must be a number or the id of an event", code="invalid_starting_after")
    return Cursor(characters=int(text or 0))


class StreamedTaskReader(Protocol):
    """Read records. Raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the given order, None for an unknown one."""


class TaskSubscriber(Protocol):
    """Subscribe to the ends of tasks, and to the steps of single tasks."""

    def subscribe(
        self, batches: Iterable[tuple[str, str]], steps: Iterable[TaskRef] = ()
    ) -> AbstractAsyncContextManager[Notification]:
        """Subscribe. Never raises: at worst no notification arrives."""


class EventStream:
    """Follow tasks of any tenant; each sees only its own."""

    def __init__(
        self, store: StreamedTaskReader, subscriber: TaskSubscriber, held_calls: HeldCalls, *, now_ms: Callable[[], int]
    ) -> None:
        """Create the stream.

        Args:
            store: reads records.
            subscriber: notifies of their steps.
            held_calls: limits the steps that wait.
            now_ms: a clock in milliseconds since 1970.

        """
        self._store = store
        self._subscriber = subscriber
        self._held_calls = held_calls
        self._now_ms = now_ms

    async def next_step(self, tenant: str, task_id: str, known: Cursor) -> str | None:
        """Wait for changes behind the caller's cursor and return them as events; None if the task has ended.

        Above the limit of held calls there is no wait, and `retry:` delays the next request.

        Raises:
            NotFound, Gone: the tenant has no such task, or has it no longer.

        """
        end = asyncio.get_running_loop().time() + MOST_SECONDS
        ref = TaskRef.parse(tenant, task_id)
        record = await self._read(ref, task_id)
        if record.status.is_terminal and known.status == record.status:
            return None
        if events := events_of(record, known):
            return events
        async with self._held_calls.holding(tenant) as is_held:
            if not is_held:
                return UNHELD_STEP
            return await self._subscribe(record.ref, task_id, known, end)

    async def _subscribe(self, ref: TaskRef, task_id: str, known: Cursor, end: float) -> str:
        async with self._subscriber.subscribe({(ref.tenant, ref.batch_id)}, [ref]) as notification:
            while not (events := events_of(await self._read(ref, task_id), known)):
                remaining = end - asyncio.get_running_loop().time()
                if remaining <= 0:
                    return f"retry: {RETRY_MS}\n: nothing new\n\n"
                await notification.wait(min(remaining, POLL_SECONDS))
        return events

    async def _read(self, ref: TaskRef | None, task_id: str) -> TaskRecord:
        record = (await self._store.read([ref]))[0] if ref else None
        if record is None:
            raise missing_task(task_id, self._now_ms())
        return record


def events_of(record: TaskRecord, known: Cursor) -> str:
    """Return the changes behind a cursor as events, as many as fit one response; empty if there are none."""
    attempt, status = len(record.attempts), record.status
    # The partial text may end within a character.
    text = record.answer.text if record.answer else (record.partial or "").rstrip("\ufffd")
    has, events = known.characters, []
    if text and known.attempt not in {None, attempt} and has:
        has = 0
        events.append(_event("reset", {}, Cursor(attempt, 0, known.status)))
    room = MOST_BYTES
    if len(text) > has:
        delta = {"text": cut(text[has:], MOST_BYTES)}
        has += len(delta["text"])
        room -= size_of(delta)
        events.append(_event("delta", delta, Cursor(attempt, has, known.status)))
    # Where there is no text yet the caller's own stays good, until another attempt brings some.
    at = Cursor(attempt if text or not has else known.attempt, has, status)
    if status.is_terminal:
        ended = fitting(show_task(record))
        # The whole task has the text once more: where that is too much for one answer, it comes with the next.
        if has >= len(text) and size_of(ended) <= room:
            events.append(_event("ended", ended, at))
    elif status != known.status:
        shown = {"status": status, "progress": record.progress, "waiting_on": record.waiting_on}
        events.append(_event("status", {name: value for name, value in shown.items() if value is not None}, at))
    return f"retry: {RETRY_MS}\n\n{''.join(events)}" if events else ""


def _event(name: str, data: dict[str, Any], cursor: Cursor) -> str:
    # ASCII JSON has no line break of any kind, which is all that the format asks of data.
    position = f"{cursor.attempt or 0}.{cursor.characters}.{cursor.status or 'unknown'}"
    return f"event: {name}\nid: {position}\ndata: {json.dumps(data)}\n\n"
