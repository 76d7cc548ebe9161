"""Show the progress of a run: live on a terminal, otherwise as a line every 15 seconds."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sluice._cli.outcome_counts import OutcomeCounts
from sluice._polling import PendingProgress

LINE_SECONDS: Final = 15.0
"""Time between two lines where standard error is not a terminal."""
RATE_SECONDS: Final = 60.0
"""Time window of the throughput that predicts the remaining time."""
REFRESHES: Final = 4
NONE_PENDING: Final = PendingProgress(0, 0, 0)
_HOUR: Final = 3600


class RunProgressBar:
    """Draw on standard error; standard output is for results."""

    def __init__(
        self,
        console: Console,
        name: str,
        total: int,
        counts: OutcomeCounts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._name = name
        self._total = total
        self.counts = counts
        self.in_flight = 0
        """Prompts that were sent and have not ended, as of the last poll."""
        self._clock = clock
        self._started = clock()
        self._pending = NONE_PENDING
        self._note = ""
        self._note_until = 0.0
        self._past = deque([(clock(), counts.ended)])
        self._next_line = clock() + LINE_SECONDS
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=REFRESHES, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._note = ""
        if self._console.is_terminal:
            self._live.stop()
        elif kind is None:
            self._print_line()

    def update(self, pending: PendingProgress) -> None:
        """Show the state of the tasks in flight."""
        self._pending = pending
        self.in_flight = pending.processing + pending.queued
        self._note = ""
        self._move()

    def note(self, text: str, seconds: float) -> None:
        """Show a note for some seconds."""
        self._note, self._note_until = text, self._clock() + seconds
        if not self._console.is_terminal:
            self._console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def task_ended(self) -> None:
        """Update the display after `counts` has changed by one task."""
        self.in_flight = max(0, self.in_flight - 1)
        self._move()

    def _move(self) -> None:
        now = self._clock()
        if self._past[-1][1] != self.counts.ended:
            self._past.append((now, self.counts.ended))
            while len(self._past) > 2 and now - self._past[0][0] > RATE_SECONDS:  # noqa: PLR2004 - a rate needs two points
                self._past.popleft()
        if not self._console.is_terminal and now >= self._next_line:
            self._print_line()
            self._next_line = now + LINE_SECONDS

    @property
    def remaining_seconds(self) -> float | None:
        """Estimate the remaining seconds from the throughput of the last minute; None if it is unknown."""
        start, then = self._past[0]
        gone = self.counts.ended - then
        if not gone or self.counts.ended >= self._total:
            return None
        return (self._clock() - start) / gone * (self._total - self.counts.ended)

    def _render(self) -> RenderableType:
        ended, total = self.counts.ended, self._total
        # Partial progress counts, so that the bar also moves with few long tasks.
        advanced = min(total, ended + self._pending.progress / 100)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._name, style="bold", overflow="ellipsis", no_wrap=True),
            ProgressBar(total=total, completed=advanced, width=max(10, min(50, self._console.width - 55))),
            Text(f"{ended:,}/{total:,}", no_wrap=True),
            Text(f"{100 * advanced / total if total else 100:.0f} %", style="cyan", no_wrap=True),
            Text(self._times(), style="dim", no_wrap=True),
        )
        lines: list[RenderableType] = [head, self._counts()]
        if self._note and self._clock() < self._note_until:
            lines.append(Text(self._note, style="yellow"))
        return Group(*lines)

    def _counts(self) -> Text:
        counts, pending = self.counts, self._pending
        # A task that ended after the last poll still counts as processing there; the counts must add up.
        processing = min(pending.processing, self.in_flight)
        unsent = self._total - counts.ended - self.in_flight
        parts = [
            ("✓", "completed", counts.completed, "green", True),
            ("▶", "processing", processing, "cyan", True),
            ("…", "queued", self.in_flight - processing, "yellow", True),
            ("·", "not sent", unsent, "dim", False),
            ("✗", "failed", counts.failed, "red", True),
            ("∅", "cancelled", counts.cancelled, "magenta", False),
            ("?", "expired", counts.gone, "magenta", False),
        ]
        text = Text("  ")
        for sign, name, count, style, always in parts:
            if count or always:
                text.append(f"{sign} {count:,} {name}   ", style if count else "dim")
        text.append(f"{counts.tokens:,} tokens")
        if counts.usd:
            text.append(f"   ${counts.usd:.4f}")
        return text

    def _times(self) -> str:
        left = self.remaining_seconds
        return format_duration(self._clock() - self._started) + (
            f", {format_duration(left)} left" if left is not None else ""
        )

    def _print_line(self) -> None:
        line = Text(f"{self._name} {self.counts.ended:,}/{self._total:,} {self._times()}").append_text(self._counts())
        self._console.print(line, highlight=False, soft_wrap=True)


def format_duration(seconds: float) -> str:
    """Format seconds as 0:05, 12:30 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if seconds >= _HOUR else f"{minutes}:{rest:02}"
