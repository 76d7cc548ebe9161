"""Where results go: a file that can be gone on with, or a pipe."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.journal import Journal
from sluice._cli.outcome_counts import OutcomeCounts
from sluice._cli.signals import interrupts
from sluice._models import Task

COMMIT_SECONDS: Final = 0.5
"""The shortest time between two entries of the journal: what lies between is only fetched again."""


class Output:
    """Results as they are written, and the journal that tells of them, where there is one."""

    def __init__(
        self, file: int, name: str, journal: Journal | None, counts: OutcomeCounts, clock: Callable[[], float]
    ) -> None:
        self._file = file
        self._name = name
        self._journal = journal
        self._counts = counts
        self._clock = clock
        self._offset = 0
        """Where the last whole result ends."""
        self._uncommitted: list[int] = []
        self._next = clock()

    def resume(self, offset: int) -> None:
        """Cut off what comes after so many bytes, and write there."""
        os.ftruncate(self._file, offset)
        self._offset = os.lseek(self._file, offset, os.SEEK_SET)

    def head(self, text: str) -> None:
        """Write what stands before all results; raises Stop as `write` does."""
        self._put(text)

    def write(self, text: str, place: int, task: Task) -> None:
        """Write and count a result, the one of the prompt at this place.

        Raises:
            Stop: the disk is full, or nobody reads the pipe any more.

        """
        with interrupts.deferred():
            self._put(text)
            self._counts.add(task)
            self._uncommitted.append(place)

    def _put(self, text: str) -> None:
        # A result can't hold half a character, but what came over the wire is not ours to trust.
        data = text.encode(errors="replace")
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except BrokenPipeError:
            raise ExitError("", ExitCode.BROKEN_PIPE) from None
        except OSError as error:
            raise unwritable(self._name, error) from error
        self._offset += len(data)

    def commit(self, *, now: bool = True) -> None:
        """Tell the journal what is written, or leave it for later if that was just done."""
        if self._journal is None or not self._uncommitted or (not now and self._clock() < self._next):
            return
        with interrupts.deferred():
            try:
                os.fsync(self._file)
                self._journal.written(self._uncommitted, self._offset, self._counts)
            except OSError as error:
                raise unwritable(self._name, error) from error
            self._uncommitted.clear()
        self._next = self._clock() + COMMIT_SECONDS


def unwritable(name: str | Path, error: OSError) -> ExitError:
    """Tell that a file could not be written."""
    reason = (error.strerror or "it failed").lower()
    return ExitError(
        f"Could not write {name}: {reason}. Nothing is lost: make room, and the same command goes on where it was.",
        ExitCode.UNWRITABLE,
    )


def open_output(path: Path) -> int:
    """Open a file of results for writing, as it stands."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ExitError(f"Could not open {path}: {error.strerror}", ExitCode.UNWRITABLE) from error


def is_stream(path: Path) -> bool:
    """Tell whether it is a pipe or a device, which nothing can be gone on with."""
    return path.exists() and not path.is_file()
