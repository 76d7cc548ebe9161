"""Record a run's progress in a file beside its results, so that the same command can resume.

The journal is append-only JSON Lines. Its first line identifies the run. Then each chunk has an entry with its
idempotency key, written before it is sent, and one with its batch ID. After results are written, an entry holds their
indexes and the size of the results file. On resume, results beyond the last recorded size are cut off and fetched
again; this costs nothing, because the service still has them. If retried results replace the file, an entry first holds
the size of the new file and the tasks whose results it has.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.outcome_counts import OutcomeCounts

SUFFIX: Final = ".sluice"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class SentChunk:
    """A chunk that was sent, or that was about to be sent."""

    first: int
    count: int
    key: str
    batch_id: str | None = None


@dataclass(slots=True)
class RunHistory:
    """The content of a journal."""

    header: Mapping[str, Any]
    sent: dict[int, SentChunk] = field(default_factory=dict)
    done: bytearray = field(default_factory=bytearray)
    """A bitmap of the prompts whose result is written."""
    offset: int = 0
    """Size of the complete results, in bytes."""
    counts: OutcomeCounts = field(default_factory=OutcomeCounts)
    healed: dict[int, str] = field(default_factory=dict)
    """The ID of the task whose result is written, by index, where a retry replaced the first task's."""
    length: int = 0
    """Size of the valid part of the journal, in bytes."""

    def is_done(self, index: int) -> bool:
        """Return whether a prompt's result is written."""
        return index // 8 < len(self.done) and bool(self.done[index // 8] >> index % 8 & 1)

    def mark(self, indexes: Iterable[int]) -> None:
        """Mark prompts as written."""
        for index in indexes:
            if index // 8 >= len(self.done):
                self.done.extend(bytes(index // 8 + 1 - len(self.done)))
            self.done[index // 8] |= 1 << index % 8


def journal_path(output: Path) -> Path:
    """Return the path of a results file's journal."""
    return output.with_name(output.name + SUFFIX)


def healed_path(output: Path) -> Path:
    """Return the path of a new results file that is about to replace the old one."""
    return output.with_name(f"{output.name}{SUFFIX}-new")


def finish_replacement(output: Path) -> None:
    """Replace a results file whose replacement a crash interrupted after the journal had recorded it."""
    path, journal = healed_path(output), journal_path(output)
    if not (path.exists() and journal.exists()):
        return
    try:
        last = json.loads(journal.read_bytes().splitlines()[-1])
    except (ValueError, IndexError):
        return
    if isinstance(last, dict) and "healed" in last and last.get("offset") == path.stat().st_size:
        path.replace(output)


def read_history(path: Path, results_bytes: int) -> RunHistory | None:
    """Read a journal as far as it is intact and the results exist; return None if it has no header.

    Raises:
        ExitError: the file is not a journal of this version.

    """
    history: RunHistory | None = None
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                break
            if history is None:
                if entry.get("sluice") != VERSION:
                    raise ExitError(f"{path} is not a journal of this version of sluice", ExitCode.USAGE)
                history = RunHistory(entry)
            elif not _apply(history, entry, results_bytes):
                break
            history.length += len(line)
    return history


def _apply(history: RunHistory, entry: dict[str, Any], results_bytes: int) -> bool:
    """Apply one entry; return False if the results file is shorter than the entry says."""
    match entry:
        case {"first": int(first), "count": int(count), "key": str(key)}:
            history.sent[first] = SentChunk(first, count, key)
        case {"first": int(first), "batch_id": str(batch_id)} if first in history.sent:
            sent = history.sent[first]
            history.sent[first] = SentChunk(first, sent.count, sent.key, batch_id)
        case {"healed": dict(tasks), "offset": int(offset), "counts": dict(counts)}:
            if offset > results_bytes:
                return False
            history.offset, history.counts = offset, OutcomeCounts.of(counts)
            history.healed = {int(index): str(task_id) for index, task_id in tasks.items()}
        case {"done": list(ranges), "offset": int(offset), "counts": dict(counts)}:
            if offset > results_bytes:
                return False
            history.offset = offset
            history.counts = OutcomeCounts.of(counts)
            for start, end in ranges:
                history.mark(range(start, end))
    return True


def to_ranges(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Convert indexes to half-open ranges."""
    start = end = -1
    for index in sorted(indexes):
        if index != end:
            if start >= 0:
                yield start, end
            start = index
        end = index + 1
    if start >= 0:
        yield start, end


class Journal:
    """An open journal, locked for this process."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; raises ExitError if another run has locked it."""
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        self._path = path
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ExitError(f"Another run is writing {path.with_suffix('')}", ExitCode.USAGE) from None

    def begin(self, header: Mapping[str, Any]) -> None:
        """Truncate the journal and write the header."""
        self.resume(0)
        self._write({"sluice": VERSION, **header})

    def discard_if_empty(self) -> None:
        """Delete the journal of a run that did not start."""
        if self._file.seek(0, os.SEEK_END) == 0:
            self._path.unlink()

    def resume(self, length: int) -> None:
        """Truncate the journal to `length` bytes and append from there."""
        self._file.truncate(length)
        self._file.seek(length)

    def sending(self, sent: SentChunk) -> None:
        """Record a chunk before it is sent."""
        self._write({"first": sent.first, "count": sent.count, "key": sent.key})

    def accepted(self, first: int, batch_id: str) -> None:
        """Record the batch ID of a chunk."""
        self._write({"first": first, "batch_id": batch_id})

    def written(self, indexes: Iterable[int], offset: int, counts: OutcomeCounts) -> None:
        """Record results that are synced to their file."""
        self._write({"done": list(to_ranges(indexes)), "offset": offset, "counts": counts.as_json()})

    def healed(self, offset: int, counts: OutcomeCounts, tasks: Mapping[int, str]) -> None:
        """Record the size of a results file with retried results, before it replaces the old one."""
        self._write({"healed": tasks, "offset": offset, "counts": counts.as_json()})

    def close(self) -> None:
        """Close the file, which releases the lock."""
        self._file.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
