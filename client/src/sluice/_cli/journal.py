"""What a run has done, in a file beside its results, so that the same command goes on after any end.

It is JSON Lines, written at the end only: first what the run is, then for each chunk its key, before it is sent, and
the batch it became, and whenever results were written, which prompts they are of and where the file of results ended
then. After an end in the middle, what stands in the results beyond the last such place is cut off and written anew: it
is at the service still, and costs nothing.
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
    """A chunk that was sent, or was about to be."""

    first: int
    count: int
    key: str
    batch_id: str | None = None


@dataclass(slots=True)
class RunHistory:
    """What a journal tells."""

    header: Mapping[str, Any]
    sent: dict[int, SentChunk] = field(default_factory=dict)
    done: bytearray = field(default_factory=bytearray)
    """A bit for each prompt whose result is written."""
    offset: int = 0
    """Bytes of the results that are whole."""
    counts: OutcomeCounts = field(default_factory=OutcomeCounts)
    length: int = 0
    """Bytes of the journal that hold good."""

    def is_done(self, place: int) -> bool:
        """Tell whether a prompt's result is written."""
        return place // 8 < len(self.done) and bool(self.done[place // 8] >> place % 8 & 1)

    def mark(self, places: Iterable[int]) -> None:
        """Note that results are written."""
        for place in places:
            if place // 8 >= len(self.done):
                self.done.extend(bytes(place // 8 + 1 - len(self.done)))
            self.done[place // 8] |= 1 << place % 8


def journal_of(output: Path) -> Path:
    """Name the journal of a file of results."""
    return output.with_name(output.name + SUFFIX)


def read_history(path: Path, results_bytes: int) -> RunHistory | None:
    """Read a journal as far as it is whole and the results are there; None if it has not even a header.

    Raises:
        Stop: it is no journal, or that of a later version.

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
                    raise ExitError(f"{path} is not the journal of a run of this version", ExitCode.USAGE)
                history = RunHistory(entry)
            elif not _apply(history, entry, results_bytes):
                break
            history.length += len(line)
    return history


def _apply(history: RunHistory, entry: dict[str, Any], results_bytes: int) -> bool:
    """Take in one line; False from where the results have lost what it speaks of."""
    match entry:
        case {"first": int(first), "count": int(count), "key": str(key)}:
            history.sent[first] = SentChunk(first, count, key)
        case {"first": int(first), "batch_id": str(batch_id)} if first in history.sent:
            sent = history.sent[first]
            history.sent[first] = SentChunk(first, sent.count, sent.key, batch_id)
        case {"done": list(ranges), "offset": int(offset), "counts": dict(counts)}:
            if offset > results_bytes:
                return False
            history.offset = offset
            history.counts = OutcomeCounts.of(counts)
            for start, end in ranges:
                history.mark(range(start, end))
    return True


def ranges_of(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Write places as ranges, the ends not in them."""
    start = end = -1
    for place in sorted(places):
        if place != end:
            if start >= 0:
                yield start, end
            start = place
        end = place + 1
    if start >= 0:
        yield start, end


class Journal:
    """An open journal, for this process alone."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; raises Stop if another run has it."""
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        self._path = path
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ExitError(f"Another run is writing {path.with_suffix('')}", ExitCode.USAGE) from None

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start from nothing."""
        self.resume(0)
        self._write({"sluice": VERSION, **header})

    def discard_if_empty(self) -> None:
        """Leave no trace of a run that did not begin."""
        if self._file.seek(0, os.SEEK_END) == 0:
            self._path.unlink()

    def resume(self, length: int) -> None:
        """Go on after so many bytes, and drop what comes after."""
        self._file.truncate(length)
        self._file.seek(length)

    def sending(self, sent: SentChunk) -> None:
        """Note a chunk before it is sent."""
        self._write({"first": sent.first, "count": sent.count, "key": sent.key})

    def accepted(self, first: int, batch_id: str) -> None:
        """Note what became of it."""
        self._write({"first": first, "batch_id": batch_id})

    def written(self, places: Iterable[int], offset: int, counts: OutcomeCounts) -> None:
        """Note results that are safely in their file."""
        self._write({"done": list(ranges_of(places)), "offset": offset, "counts": counts.as_json()})

    def close(self) -> None:
        """Close it, and let others have it."""
        self._file.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
