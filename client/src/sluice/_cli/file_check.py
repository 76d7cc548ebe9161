"""Validate a whole file before anything is sent: count its prompts and find every bad line."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sluice._cli.estimate import Estimate
from sluice._cli.input_file import BadLine, InputFile, InputRecord
from sluice._cli.prompt_parser import MAX_PROMPT_BYTES

PROGRESS_LINES = 10_000
"""Report progress after this many lines."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The number of prompts in a file, its SHA-256, the number of bad lines, and the estimated tokens."""

    total: int
    digest: str
    bad: int
    estimate: Estimate


def check_file(
    source: InputFile, options: Mapping[str, Any], on_bad: Callable[[BadLine], None], on_line: Callable[[int], None]
) -> FileCheck:
    """Read the whole file; call `on_bad` for each bad line and `on_line` regularly with the current line number.

    The options of the call, such as the system prompt, count for the size and the tokens of each prompt.
    """
    common, estimate = common_bytes(options), Estimate(options)
    total = bad = 0
    with closing(_SeenCustomIds()) as seen:
        for found in source.read():
            if found.line % PROGRESS_LINES == 0:
                on_line(found.line)
            if isinstance(found, InputRecord) and (size := len(json.dumps(found.prompt)) + common) > MAX_PROMPT_BYTES:
                found = BadLine(found.line, f"has {size:,} bytes as JSON in ASCII; the maximum is {MAX_PROMPT_BYTES:,}")  # noqa: PLW2901
            elif isinstance(found, InputRecord) and found.custom_id is not None:
                first = seen.line_of(found.custom_id, found.line)
                if first != found.line:
                    # A custom_id is no secret: the message may show it.
                    found = BadLine(found.line, f"repeats the custom_id of line {first}: {found.custom_id!r}")  # noqa: PLW2901
            if isinstance(found, BadLine):
                bad += 1
                on_bad(found)
            else:
                total += 1
                estimate.add(found.prompt)
    return FileCheck(total, source.digest, bad, estimate)


def common_bytes(options: Mapping[str, Any]) -> int:
    """Return the bytes that the call's options add to each prompt."""
    return len(json.dumps({name: options.get(name) for name in ("system", "params") if options.get(name)}))


class _SeenCustomIds:
    """The custom_ids seen so far, on disk, so that memory does not grow with the file."""

    def __init__(self) -> None:
        # With an empty name SQLite uses a temporary file, which it deletes with the connection.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE seen (custom_id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def line_of(self, custom_id: str, line: int) -> int:
        """Return the first line with this custom_id: `line` itself if it is new."""
        if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (custom_id, line)).rowcount:
            return line
        return int(self._database.execute("SELECT line FROM seen WHERE custom_id = ?", (custom_id,)).fetchone()[0])

    def close(self) -> None:
        self._database.close()
