"""Report how far the running answers are: one pipeline a second for all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final, Protocol

from common.api.pagination import MOST_PARTIAL_CHARACTERS
from common.domain.errors import StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.task import TaskRef
from common.domain.transitions import Lease, ProgressNote
from common.kinds.tokens import CHARACTERS_PER_TOKEN
from common.worker.bill import Bill
from common.worker.deadlines import InvocationDeadlines
from common.worker.text import paired
from common.worker.token_estimates import expected_tokens

FLUSH_SECONDS: Final = 1.0
"""Between two writes: a caller who looks once a second sees each step."""

_MOST: Final = 99
"""Only a completed task is at 100."""


class ProgressWriter(Protocol):
    """Take the notes of all running tasks; the store does."""

    async def progress(self, notes: Sequence[ProgressNote]) -> list[bool]:
        """Write the notes, and answer for each whether its owner still holds the lease."""


class AnswerProgress:
    """Measure one running answer. A piece of a stream is a token, near enough for a progress bar."""

    def __init__(self, ref: TaskRef, owner: str, expected: int, abort: Callable[[], None], bill: Bill) -> None:
        """Take whose answer it is, its expected length, what ends the call when the lease is lost, and its bill."""
        self._ref = ref
        self.owner = owner
        self.bill = bill
        self._expected = expected
        self._abort = abort
        self.own_refusals = 0
        self.on_begin: Callable[[], None] | None = None
        self._texts: list[str] = []
        self._tokens = 0
        self._characters = 0
        self._has_grown = False
        self._is_full = False
        self._done = 0
        self._steps = 1
        self.first_at: float | None = None
        self.lost = False

    def __call__(self, text: str) -> None:
        """Take the next piece of the answer."""
        if self.first_at is None:
            self.first_at = asyncio.get_running_loop().time()
            if self.on_begin:
                self.on_begin()
        self._tokens += 1
        self._characters += len(text)
        if not self._is_full:
            self._texts.append(text)
            self._has_grown = True

    @property
    def tokens(self) -> int:
        """Return how many tokens have come, as far as that can be seen: some providers send whole sentences."""
        return max(self._tokens, self._characters // CHARACTERS_PER_TOKEN)

    @property
    def text(self) -> str | None:
        """Return the text so far, as much as the API can show; None where there is none."""
        return paired("".join(self._texts)[:MOST_PARTIAL_CHARACTERS]) or None

    def at_step(self, done: int, steps: int, texts: Sequence[str] = ()) -> None:
        """Start over with the pieces of another step, when so many of all steps are done."""
        self._done, self._steps = done, max(steps, done + 1)
        self._texts = list(texts)
        self._tokens = len(texts)
        self._has_grown, self._is_full = True, False

    def snapshot(self, lease_ms: int) -> ProgressNote:
        """Return how far the answer is, with its text if it has grown since the last note.

        Of a long text the note has the beginning, as much as the API can show; what comes after that is not noted.
        """
        of_step = min(_MOST, max(min(self._tokens, 1), 100 * self._tokens // max(1, self._expected)))
        percent = (100 * self._done + of_step) // self._steps
        if not self._has_grown:
            return ProgressNote(self._ref, self.owner, percent, None, lease_ms)
        self._has_grown = False
        text = "".join(self._texts)[:MOST_PARTIAL_CHARACTERS]
        self._texts = [text]
        self._is_full = len(text) == MOST_PARTIAL_CHARACTERS
        return ProgressNote(self._ref, self.owner, percent, paired(text), lease_ms)

    def lose_lease(self) -> None:
        """End the call: whatever it would answer is no longer ours to record."""
        self.lost = True
        self._abort()


class ProgressReporter:
    """Keep the meters of all running answers, and write what they show.

    `on_fault` receives unexpected errors: progress is optional, and its faults must not cost an answer.
    """

    def __init__(self, writer: ProgressWriter, on_fault: Callable[[Exception], None]) -> None:
        self._writer = writer
        self._on_fault = on_fault
        self._meters: set[AnswerProgress] = set()

    @contextlib.contextmanager
    def track(
        self, lease: Lease, message: TaskMessage, abort: Callable[[], None], bill: Bill
    ) -> Iterator[AnswerProgress]:
        """Show one answer on the board while it runs."""
        meter = AnswerProgress(lease.task.ref, lease.owner, expected_tokens(message), abort, bill)
        self._meters.add(meter)
        try:
            yield meter
        finally:
            self._meters.discard(meter)

    @contextlib.asynccontextmanager
    async def running(self, deadlines: InvocationDeadlines) -> AsyncIterator[None]:
        """Flush once a second while the block lasts; a flush under way at its end is awaited while there is time."""
        over = asyncio.Event()
        flusher = asyncio.create_task(self._flush_until(over, deadlines))
        try:
            yield
        finally:
            over.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadlines.writes_end):
                    await flusher

    async def _flush_until(self, over: asyncio.Event, deadlines: InvocationDeadlines) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), FLUSH_SECONDS)
            await self.flush(deadlines)

    async def flush(self, deadlines: InvocationDeadlines) -> None:
        """Write what has changed and renew the leases; a cancelled task is dropped though its model is silent.

        A store that does not answer is passed over: the next note says more anyway.
        """
        pairs = [(meter, meter.snapshot(deadlines.lease_ms)) for meter in self._meters]
        if not pairs:
            return
        try:
            held = await self._writer.progress([note for _, note in pairs])
        except StoreUnavailable:
            return
        except Exception as error:  # noqa: BLE001  # reported to on_fault
            self._on_fault(error)
            return
        for (meter, _), is_held in zip(pairs, held, strict=True):
            if not is_held and meter in self._meters:
                meter.lose_lease()
