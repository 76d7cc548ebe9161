"""Split a file into lines that end in LF, CR LF or CR, with bounded memory."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""Bytes. A prompt has at most 256 KiB; its line may be longer because of escapes and white space."""
READ_BYTES: Final = 64 * 1024


def read_lines(file: BinaryIO, on_read: Callable[[bytes], None]) -> Iterator[bytes | None]:
    """Yield each line with its end, or None for a line of more than MAX_LINE_BYTES; `on_read` gets every byte."""
    pending, too_long = bytearray(), False
    while chunk := file.readline(READ_BYTES):
        on_read(chunk)
        pending += chunk
        lines = pending.splitlines(keepends=True)
        # A CR at the end of a chunk may be the first half of a CR LF.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        for line in lines:
            yield None if too_long or len(line) > MAX_LINE_BYTES else bytes(line)
            too_long = False
        pending = bytearray(rest)
        if len(pending) > MAX_LINE_BYTES:
            too_long = True
            del pending[:-1]
    if pending or too_long:
        yield None if too_long or len(pending) > MAX_LINE_BYTES else bytes(pending)
