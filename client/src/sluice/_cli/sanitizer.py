"""Make untrusted text safe for terminals and spreadsheets.

An answer, an error text or a file name may hold escape sequences: they write to the clipboard (OSC 52), set the title
of the window, clear the screen or reorder text. A spreadsheet evaluates a cell that begins like a formula.
"""

import re
import sys
from typing import Final, TextIO

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f"  # C0, of which ESC begins most sequences, except tab, LF and CR
    "\x7f-\x9f"  # DEL, and C1, which has one-character forms of the sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls: text would be shown in another order
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line separators, invisible marks and tags
    "\ud800-\udfff]"  # lone surrogates, which can't be encoded
    "|\r(?!\n)"  # a bare CR: what follows would overwrite the line
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet evaluates; the last four are the full-width forms of the first four."""
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}([.,][0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


def for_terminal(text: str) -> str:
    """Return the text with control characters as visible Unicode escapes, which are valid in JSON strings too."""
    return _UNSAFE.sub(_escape, text)


def for_spreadsheet(cell: object) -> object:
    """Return a CSV cell that no spreadsheet evaluates: a text that begins like a formula gets an apostrophe before it.

    Numbers such as -5 stay as they are.
    """
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def write_text(text: str, *, end: str = "\n", file: TextIO | None = None, raw: bool = False) -> None:
    """Print text at once, escaped if the file is a terminal; `raw` prints it unchanged there too."""
    file = file or sys.stdout
    shown = for_terminal(text) if file.isatty() and not raw else text
    print(shown.encode(errors="replace").decode(), end=end, file=file, flush=True)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
