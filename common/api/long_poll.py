"""Hold an answer until tasks have ended: `Prefer: wait=N` (RFC 7240) and `until=any|all`."""

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
"""The longest time between two looks: a deadline passes unheard, and a message can be lost with its connection."""

POLL_GAP_SECONDS: Final = 0.1
"""The shortest while there is more than one: the tasks of a large batch may end in quick succession."""

LOOK_GAP_PER_TASK_SECONDS: Final = 0.001
"""The shortest for each task that is looked at: a held call reads no more than 1,000 records a second of Redis, which
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
    """Say how long an answer may be held, and for what; no seconds mean that it is not."""

    seconds: int = 0
    until: Until = Until.ALL

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that says which preference was applied."""
        return {"Preference-Applied": f"wait={self.seconds}"} if self.seconds else {}


def read_wait_preference(prefer: str | None, query: Mapping[str, Sequence[str]]) -> WaitPreference:
    """Read a request's `Prefer` header and its `until` parameter; a preference that is not understood counts for none.

    Raises:
        InvalidRequest: `until` is neither any nor all.

    """
    until = query.get("until", [Until.ALL])[-1]
    if until not in set(Until):
        raise InvalidRequest("until must be any or all", code="invalid_until")
    found = (_WAIT.fullmatch(part) for part in (prefer or "").split(","))
    seconds = next((int(match[1]) for match in found if match), 0)
    return WaitPreference(min(seconds, MOST_SECONDS), Until(until))


class WaitOutcome(Enum):
    """Name how a wait has ended."""

    ENDED = auto()
    """The tasks have ended as wished."""
    TIMED_OUT = auto()
    """The time was over first."""
    NOT_HELD = auto()
    """There was no wait: the tenant, or all together, have as many held calls as they may."""


class RecordReader(Protocol):
    """Read records. Raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the order asked, None for an unknown one; without text they are small."""


class Notification(Protocol):
    """Tell that something was heard."""

    async def wait(self, seconds: float) -> None:
        """Return when something was heard, or when the time is over."""


class BatchSubscriber(Protocol):
    """Hear of tasks that end."""

    def subscribe(self, batches: Iterable[tuple[str, str]]) -> AbstractAsyncContextManager[Notification]:
        """Listen to batches, each by its tenant and its id. Never raises: it may only be deaf."""


class HeldCalls(Protocol):
    """Bound the calls that are held at a time."""

    def holding(self, tenant: str) -> AbstractAsyncContextManager[bool]:
        """Say whether a call of this tenant may be held, and count it until the block ends. Never raises."""


class LongPoll:
    """Wait for tasks; woken when one ends."""

    def __init__(self, store: RecordReader, listener: BatchSubscriber, held_calls: HeldCalls) -> None:
        """Take where records are read, who hears of their ends, and what bounds the calls that wait."""
        self._store = store
        self._listener = listener
        self._held_calls = held_calls

    async def wait(
        self, refs: Sequence[TaskRef], preference: WaitPreference, *, spent_seconds: float = 0.0
    ) -> WaitOutcome:
        """Wait until the tasks of one tenant have ended as wished; an unknown task never will.

        `spent_seconds` of the time are over already. Raises StoreUnavailable.
        """
        end = asyncio.get_running_loop().time() + preference.seconds - spent_seconds
        running, has_ended = await self._look(refs)
        if not running or (has_ended and preference.until is Until.ANY):
            return WaitOutcome.ENDED
        async with self._held_calls.holding(running[0].tenant) as is_held:
            return await self._listen(running, preference.until, end) if is_held else WaitOutcome.NOT_HELD

    async def _listen(self, running: Sequence[TaskRef], until: Until, end: float) -> WaitOutcome:
        async with self._listener.subscribe({(ref.tenant, ref.batch_id) for ref in running}) as notification:
            while True:
                # Also at first: what ended before we listened was not heard.
                running, has_ended = await self._look(running)
                if not running or (has_ended and until is Until.ANY):
                    return WaitOutcome.ENDED
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    return WaitOutcome.TIMED_OUT
                await notification.wait(min(left, POLL_SECONDS))
                if len(running) > 1:
                    await asyncio.sleep(max(POLL_GAP_SECONDS, len(running) * LOOK_GAP_PER_TASK_SECONDS))

    async def _look(self, refs: Sequence[TaskRef]) -> tuple[list[TaskRef], bool]:
        """Return which of the tasks may still change, and whether one of the others has ended."""
        records = await self._store.read(refs, with_text=False)
        running = [ref for ref, record in zip(refs, records, strict=True) if record and not record.status.is_terminal]
        return running, any(record and record.status.is_terminal for record in records)
