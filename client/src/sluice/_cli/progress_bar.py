"""Show how a run stands: live on a terminal, else as a line now and then."""

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
"""Where nothing can be drawn, the time between two lines."""
RATE_SECONDS: Final = 60.0
"""The time over which the speed is measured, for what is left."""
REFRESHES: Final = 4
NOTHING: Final = PendingProgress(0, 0, 0)
_HOUR: Final = 3600


class RunProgressBar:
    """Draws on standard error, which leaves standard output to the results."""

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
        self.under_way = 0
        """Prompts that were sent and have not ended, as far as is known."""
        self._clock = clock
        self._started = clock()
        self._standing = NOTHING
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

    def update(self, standing: PendingProgress) -> None:
        """Show how what is under way stands."""
        self._standing = standing
        self.under_way = standing.running + standing.queued
        self._note = ""
        self._move()

    def note(self, text: str, seconds: float) -> None:
        """Say for some seconds what is being waited for."""
        self._note, self._note_until = text, self._clock() + seconds
        if not self._console.is_terminal:
            self._console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def task_ended(self) -> None:
        """Take note that the counts has one more."""
        self.under_way = max(0, self.under_way - 1)
        self._move()

    def _move(self) -> None:
        now = self._clock()
        if self._past[-1][1] != self.counts.ended:
            self._past.append((now, self.counts.ended))
            while len(self._past) > 2 and now - self._past[0][0] > RATE_SECONDS:  # noqa: PLR2004 - two make a speed
                self._past.popleft()
        if not self._console.is_terminal and now >= self._next_line:
            self._print_line()
            self._next_line = now + LINE_SECONDS

    @property
    def left_seconds(self) -> float | None:
        """Guess for how long it will go on, by the speed of the last minute; None while nothing tells."""
        start, then = self._past[0]
        gone = self.counts.ended - then
        if not gone or self.counts.ended >= self._total:
            return None
        return (self._clock() - start) / gone * (self._total - self.counts.ended)

    def _render(self) -> RenderableType:
        ended, total = self.counts.ended, self._total
        # What runs counts by how far it is: with few long answers the bar moves all the same.
        far = min(total, ended + self._standing.progress / 100)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._name, style="bold", overflow="ellipsis", no_wrap=True),
            ProgressBar(total=total, completed=far, width=max(10, min(50, self._console.width - 55))),
            Text(f"{ended:,}/{total:,}", no_wrap=True),
            Text(f"{100 * far / total if total else 100:.0f} %", style="cyan", no_wrap=True),
            Text(self._times(), style="dim", no_wrap=True),
        )
        lines: list[RenderableType] = [head, self._counts()]
        if self._note and self._clock() < self._note_until:
            lines.append(Text(self._note, style="yellow"))
        return Group(*lines)

    def _counts(self) -> Text:
        counts, standing = self.counts, self._standing
        # What has ended since the last look may stand there still: the sums are to agree.
        running = min(standing.running, self.under_way)
        unsent = self._total - counts.ended - self.under_way
        parts = [
            ("✓", "done", counts.completed, "green", True),
            ("▶", "running", running, "cyan", True),
            ("…", "queued", self.under_way - running, "yellow", True),
            ("·", "to send", unsent, "dim", False),
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
        left = self.left_seconds
        return clock_of(self._clock() - self._started) + (f", {clock_of(left)} left" if left is not None else "")

    def _print_line(self) -> None:
        line = Text(f"{self._name} {self.counts.ended:,}/{self._total:,} {self._times()}").append_text(self._counts())
        self._console.print(line, highlight=False, soft_wrap=True)


def clock_of(seconds: float) -> str:
    """Write a time as a clock does: 0:05, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if seconds >= _HOUR else f"{minutes}:{rest:02}"
