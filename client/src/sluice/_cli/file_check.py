"""Read a whole file before anything of it is sent: count its prompts and find every bad line."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from sluice._cli.input_file import BadLine, InputFile, InputRecord
from sluice._cli.prompt_parser import MOST_BYTES

TOLD_LINES = 10_000
"""After how many lines to tell how far it is."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """How many prompts a file has, its SHA-256, and how many of its lines are bad."""

    total: int
    digest: str
    bad: int


def check_file(
    source: InputFile, common: int, on_bad: Callable[[BadLine], None], on_line: Callable[[int], None]
) -> FileCheck:
    """Read it all; `on_bad` is told of each bad line, `on_line` now and then of the line it is at.

    `common` bytes are added to each prompt by what is said of all.
    """
    total = bad = 0
    with closing(_SeenCustomIds()) as seen:
        for found in source.read():
            if found.line % TOLD_LINES == 0:
                on_line(found.line)
            if isinstance(found, InputRecord) and (size := len(json.dumps(found.prompt)) + common) > MOST_BYTES:
                found = BadLine(found.line, f"has {size:,} bytes as JSON in ASCII; {MOST_BYTES:,} is the most")  # noqa: PLW2901
            elif isinstance(found, InputRecord) and found.custom_id is not None:
                first = seen.line_of(found.custom_id, found.line)
                if first != found.line:
                    # It is the caller's own name, of their own file: it may be shown.
                    found = BadLine(found.line, f"has the custom_id of line {first}: {found.custom_id!r}")  # noqa: PLW2901
            if isinstance(found, BadLine):
                bad += 1
                on_bad(found)
            else:
                total += 1
    return FileCheck(total, source.digest, bad)


class _SeenCustomIds:
    """The custom_ids so far, on disk: memory is not to grow with the file."""

    def __init__(self) -> None:
        # An empty name is a temporary file of SQLite's, gone with the connection.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE seen (custom_id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def line_of(self, custom_id: str, line: int) -> int:
        """Give the line that had this name first, which is the one given if none had."""
        if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (custom_id, line)).rowcount:
            return line
        return int(self._database.execute("SELECT line FROM seen WHERE custom_id = ?", (custom_id,)).fetchone()[0])

    def close(self) -> None:
        self._database.close()
