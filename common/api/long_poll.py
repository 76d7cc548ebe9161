"""Long polling: hold a response until tasks have ended. `Prefer: wait=N` (RFC 7240) and `until=any|all`."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final, Protocol

from common.domain.errors import InvalidRequest
from common.domain.task import TaskRecord, TaskRef

MOST_SECONDS: Final = 25
"""The longest wait: API Gateway gives up after 29 s, our functions after 28, and the answer has still to be read."""

POLL_SECONDS: Final = 5.0
"""The longest time between two reads: a deadline sends no notification, and one can be lost with its connection."""

POLL_GAP_SECONDS: Final = 0.1
"""The shortest time between two reads of several tasks: those of a large batch may end in quick succession."""

READ_GAP_PER_TASK_SECONDS: Final = 0.001
"""The shortest for each task that is read: a held call reads no more than 1,000 records a second of Redis, which
all tenants share."""

_WAIT: Final = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?:;.*)?", re.IGNORECASE)


class Until(StrEnum):
    """Name what a caller waits for."""

    ALL = "all"
    """Every task has ended."""
    ANY = "any"
    """One of them has."""


@dataclass(frozen=True, slots=True)
class WaitPreference:
    """Hold how long the caller prefers to wait, and for what; 0 seconds is no wait."""

    seconds: int = 0
    until: Until = Until.ALL

    @property
    def headers(self) -> dict[str, str]:
        """Return the response header that confirms the preference."""
        return {"Preference-Applied": f"wait={self.seconds}"} if self.seconds else {}


def read_wait_preference(prefer: str | None, query: Mapping[str, Sequence[str]]) -> WaitPreference:
    """Read a request's `Prefer` header and its `until` parameter; a preference that is not understood counts for none.

    Raises:
        InvalidRequest: `until` is neither any nor all.

    """
    until = query.get("until", [Until.ALL])[-1]
    if until not in set(Until):
        raise InvalidRequest("until must be any or all", code="invalid_until")
    return WaitPreference(read_wait_seconds(prefer, default=0), Until(until))


def read_wait_seconds(prefer: str | None, *, default: int) -> int:
    """Return the seconds of a `Prefer: wait`, MOST_SECONDS at most; `default` without a preference that is one."""
    found = (_WAIT.fullmatch(part) for part in (prefer or "").split(","))
    return next((min(int(match[1]), MOST_SECONDS) for match in found if match), default)


class WaitOutcome(Enum):
    """Name how a wait has ended."""

    ENDED = auto()
    """The tasks have ended as preferred."""
    TIMED_OUT = auto()
    """The preferred time has passed first."""
    NOT_HELD = auto()
    """There was no wait: the tenant, or all tenants together, have reached the limit of held calls."""


class RecordReader(Protocol):
    """Read records. Raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the given order, None for an unknown one; without text they are small."""


class Notification(Protocol):
    """Wait for a notification."""

    async def wait(self, seconds: float) -> None:
        """Return when a notification arrives, or when the time is over."""


class BatchSubscriber(Protocol):
    """Subscribe to the ends of tasks."""

    def subscribe(self, batches: Iterable[tuple[str, str]]) -> AbstractAsyncContextManager[Notification]:
        """Subscribe to batches, each by its tenant and its ID. Never raises: at worst no notification arrives."""


class HeldCalls(Protocol):
    """Limit the calls that are held at a time."""

    def holding(self, tenant: str) -> AbstractAsyncContextManager[bool]:
        """Return whether a call of this tenant may be held, and count it until the block ends. Never raises."""


class LongPoll:
    """Wait for tasks; a notification of an end triggers a read."""

    def __init__(self, store: RecordReader, subscriber: BatchSubscriber, held_calls: HeldCalls) -> None:
        """Create the long poll.

        Args:
            store: reads records.
            subscriber: notifies of tasks that end.
            held_calls: limits the calls that wait.

        """
        self._store = store
        self._subscriber = subscriber
        self._held_calls = held_calls

    async def wait(
        self, refs: Sequence[TaskRef], preference: WaitPreference, *, spent_seconds: float = 0.0
    ) -> WaitOutcome:
        """Wait until the tasks of one tenant have ended as preferred; an unknown task is not waited for.

        `spent_seconds` is the part of the time that has passed. Raises StoreUnavailable.
        """
        end = asyncio.get_running_loop().time() + preference.seconds - spent_seconds
        running, has_ended = await self._read(refs)
        if not running or (has_ended and preference.until is Until.ANY):
            return WaitOutcome.ENDED
        async with self._held_calls.holding(running[0].tenant) as is_held:
            return await self._subscribe(running, preference.until, end) if is_held else WaitOutcome.NOT_HELD

    async def _subscribe(self, running: Sequence[TaskRef], until: Until, end: float) -> WaitOutcome:
        async with self._subscriber.subscribe({(ref.tenant, ref.batch_id) for ref in running}) as notification:
            while True:
                # Also the first time: an end before the subscription sends no notification.
                running, has_ended = await self._read(running)
                if not running or (has_ended and until is Until.ANY):
                    return WaitOutcome.ENDED
                remaining = end - asyncio.get_running_loop().time()
                if remaining <= 0:
                    return WaitOutcome.TIMED_OUT
                await notification.wait(min(remaining, POLL_SECONDS))
                if len(running) > 1:
                    await asyncio.sleep(max(POLL_GAP_SECONDS, len(running) * READ_GAP_PER_TASK_SECONDS))

    async def _read(self, refs: Sequence[TaskRef]) -> tuple[list[TaskRef], bool]:
        """Return which of the tasks may still change, and whether one of the others has ended."""
        records = await self._store.read(refs, with_text=False)
        running = [ref for ref, record in zip(refs, records, strict=True) if record and not record.status.is_terminal]
        return running, any(record and record.status.is_terminal for record in records)
