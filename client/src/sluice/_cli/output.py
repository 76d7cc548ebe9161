"""Write results to a file, which a later run can resume, or to a pipe."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.journal import Journal
from sluice._cli.outcome_counts import OutcomeCounts
from sluice._cli.sanitizer import for_terminal
from sluice._cli.signals import interrupts
from sluice._models import Task

COMMIT_SECONDS: Final = 0.5
"""Minimum time between two journal entries; results in between are fetched again after a crash."""


class Output:
    """Write results and record them in the journal, if there is one."""

    def __init__(  # noqa: PLR0913 - each by name or obvious
        self,
        file: int,
        name: str,
        journal: Journal | None,
        counts: OutcomeCounts,
        clock: Callable[[], float],
        *,
        raw: bool = False,
    ) -> None:
        self._file = file
        self._escapes = os.isatty(file) and not raw
        self._name = name
        self._journal = journal
        self._counts = counts
        self._clock = clock
        self._offset = 0
        """The end of the last complete result, in bytes."""
        self._uncommitted: list[int] = []
        self._next = clock()

    def resume(self, offset: int) -> None:
        """Truncate the file to `offset` bytes and append from there."""
        os.ftruncate(self._file, offset)
        self._offset = os.lseek(self._file, offset, os.SEEK_SET)

    def head(self, text: str) -> None:
        """Write the text before the first result; raises ExitError as `write` does."""
        self._put(text)

    def write(self, text: str, index: int, task: Task) -> None:
        """Write and count the result of the prompt at index `index`.

        Raises:
            ExitError: the disk is full, or the reader closed the pipe.

        """
        with interrupts.deferred():
            self._put(text)
            self._counts.add(task)
            self._uncommitted.append(index)

    def _put(self, text: str) -> None:
        # The service never sends lone surrogates, but the response is untrusted input.
        data = (for_terminal(text) if self._escapes else text).encode(errors="replace")
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except BrokenPipeError:
            raise ExitError("", ExitCode.BROKEN_PIPE) from None
        except OSError as error:
            raise write_error(self._name, error) from error
        self._offset += len(data)

    def commit(self, *, now: bool = True) -> None:
        """Record the written results in the journal; with now=False only if the last commit is long enough ago."""
        if self._journal is None or not self._uncommitted or (not now and self._clock() < self._next):
            return
        with interrupts.deferred():
            try:
                os.fsync(self._file)
                self._journal.written(self._uncommitted, self._offset, self._counts)
            except OSError as error:
                raise write_error(self._name, error) from error
            self._uncommitted.clear()
        self._next = self._clock() + COMMIT_SECONDS


def write_error(name: str | Path, error: OSError) -> ExitError:
    """Return the error for a file that can't be written."""
    reason = (error.strerror or "unknown error").lower()
    return ExitError(
        f"Could not write {name}: {reason}. No result is lost: fix this and run the same command again to resume.",
        ExitCode.UNWRITABLE,
    )


def open_output(path: Path) -> int:
    """Open a results file for writing without truncating it. Only its owner may read a new one: it holds answers."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ExitError(f"Could not open {path}: {error.strerror}", ExitCode.UNWRITABLE) from error


def is_stream(path: Path) -> bool:
    """Return whether the path is a pipe or a device, which a run can't resume."""
    return path.exists() and not path.is_file()
