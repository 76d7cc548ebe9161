"""Read a prompt file: JSON Lines, CSV or plain text. Memory is bounded, whatever the size of the file or its lines."""

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

from sluice._cli.line_reader import MAX_LINE_BYTES, read_lines
from sluice._cli.prompt_parser import BadPromptError, parse_input, parse_prompt, validate
from sluice._cli.strict_json import strict_json
from sluice._cli.template import BadTemplateError, Template

CUSTOM_ID: Final = "custom_id"
BOM: Final = b"\xef\xbb\xbf"
OTHER_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
KNOWN_SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".json"})
PROMPT_COLUMNS: Final = ("prompt", CUSTOM_ID, "model", "system")
"""The columns of a table that are fields of a prompt; the others are only for templates."""
_ARRAY_START: Final = re.compile(rb"\[\s*($|[\[\]{\"])")
_INVISIBLE: Final = "\ufeff\u200b\u200c\u200d\u2060"
"""Characters without a width, which spreadsheets leave in header cells."""


class Format(StrEnum):
    """The format of an input file."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A prompt and its first line, counted from 1; `row` holds the cells of its CSV row."""

    line: int
    prompt: dict[str, Any] = field(repr=False)
    row: dict[str, str] | None = field(default=None, repr=False)

    @property
    def custom_id(self) -> str | None:
        """Return the caller's own ID of the prompt, or None."""
        return self.prompt.get(CUSTOM_ID)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not a valid prompt, and the reason."""

    line: int
    reason: str


def detect_format(path: str, start: bytes) -> Format:
    """Detect the format by the file's extension, or else by its first bytes."""
    by_name = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".csv": Format.CSV, ".tsv": Format.TSV}
    by_name |= {".txt": Format.LINES, ".json": Format.JSONL}
    guess = Format.JSONL if start.removeprefix(BOM).lstrip()[:1] in {b"{", b'"'} else Format.LINES
    return by_name.get(Path(path).suffix.lower(), guess)


def is_json_array(path: str, start: bytes) -> bool:
    """Return True if a file whose format is detected holds a JSON array: its lines are no prompts.

    Plain text may begin with a bracket, as in `[Formal] Write a letter`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in {"", ".json"} and suffix in KNOWN_SUFFIXES:
        return False
    begins = start.removeprefix(BOM).lstrip()
    return begins.startswith(b"[") and (suffix == ".json" or bool(_ARRAY_START.match(begins)))


class InputFile:
    """A prompt file; each `read` starts at its beginning."""

    def __init__(self, file: BinaryIO, form: Format, template: Template | None, *, holds_inputs: bool = False) -> None:
        """Take the file and its format; with `holds_inputs` its records are inputs of a workflow."""
        self._file = file
        self.form = form
        self._template = template
        self._holds_inputs = holds_inputs
        self._hash = hashlib.sha256()
        self.columns: list[str] = []

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the bytes that the last complete `read` returned."""
        return self._hash.hexdigest()

    def read(self) -> Iterator[InputRecord | BadLine]:
        """Yield each prompt or bad line; skip blank lines."""
        self._file.seek(0)
        self._hash = hashlib.sha256()
        if self.form in {Format.CSV, Format.TSV}:
            yield from self._rows()
            return
        for number, line in self._lines():
            if isinstance(line, BadLine):
                yield line
            elif line.strip():
                try:
                    yield InputRecord(number, self._prompt(line.rstrip("\r\n")))
                except (BadPromptError, BadTemplateError) as error:
                    yield BadLine(number, str(error))

    def _prompt(self, line: str) -> dict[str, Any]:
        value: Any = line if self.form is Format.LINES else strict_json(line)
        if self._holds_inputs:
            return parse_input(value)
        if self._template is None:
            return parse_prompt(value)
        return _filled(self._template, {"prompt": value} if isinstance(value, str) else value)

    def _lines(self) -> Iterator[tuple[int, "str | BadLine"]]:
        for number, raw in enumerate(read_lines(self._file, self._hash.update), 1):
            if raw is None:
                yield number, BadLine(number, f"is longer than {MAX_LINE_BYTES:,} bytes")
                continue
            if number == 1 and raw.startswith(OTHER_BOMS):
                yield 1, BadLine(1, "is UTF-16; save the file as UTF-8")
                return
            try:
                yield number, (raw.removeprefix(BOM) if number == 1 else raw).decode()
            except UnicodeDecodeError as error:
                yield number, BadLine(number, f"is not UTF-8 (byte {error.start + 1})")

    def _rows(self) -> Iterator[InputRecord | BadLine]:
        bad: list[BadLine] = []
        csv.field_size_limit(MAX_LINE_BYTES)
        rows = csv.reader(self._text(bad), delimiter="\t" if self.form is Format.TSV else ",", strict=True)
        self.columns = []
        while True:
            start = rows.line_num + 1
            try:
                cells = next(rows)
            except StopIteration:
                yield from bad
                return
            except csv.Error as error:
                # After a quoting error every later line would be reported, wrongly.
                yield BadLine(start, f"is not valid CSV: {error}; the lines after it were not checked")
                for _ in self._lines():
                    pass
                return
            if bad:
                yield from bad
                bad.clear()
            elif not self.columns and cells:
                self.columns = [cell.strip().strip(_INVISIBLE).strip() for cell in cells]
                if problem := self._problem_of_columns():
                    yield BadLine(start, problem)
                    return
            elif any(cell.strip() for cell in cells):
                yield self._row(start, cells)

    def _text(self, bad: list[BadLine]) -> Iterator[str]:
        for _, line in self._lines():
            if isinstance(line, BadLine):
                bad.append(line)
                yield "\n"
            else:
                yield line

    def _problem_of_columns(self) -> str:
        names = ", ".join(self.columns)
        if twice := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            return f"names a column twice: {', '.join(twice)}"
        if self._holds_inputs:
            return ""
        for column in self.columns:
            known = {_normalised(name): name for name in PROMPT_COLUMNS if name not in self.columns}
            if name := known.get(_normalised(column)):
                return f"has a column {column!r}; did you mean {name!r}?"
        if self._template is None:
            return (
                ""
                if "prompt" in self.columns
                else f"has no column 'prompt', only {names}; --template builds prompts from other columns"
            )
        missing = sorted(self._template.variables - set(self.columns))
        return f"has no column {', '.join(missing)}, which the template uses, only {names}" if missing else ""

    def _row(self, start: int, cells: list[str]) -> InputRecord | BadLine:
        if len(cells) != len(self.columns):
            return BadLine(start, f"has {len(cells)} cells; the header row has {len(self.columns)}")
        row = dict(zip(self.columns, cells, strict=True))
        if self._holds_inputs:
            return InputRecord(start, row, row)
        given = {name: row[name] for name in PROMPT_COLUMNS if row.get(name)}
        try:
            prompt = _filled(self._template, row) if self._template else parse_prompt(given)
        except (BadPromptError, BadTemplateError) as error:
            return BadLine(start, str(error))
        return InputRecord(start, prompt, row)


def _filled(template: Template, values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise BadPromptError("must be an object with the template's variables")
    prompt: dict[str, Any] = {"prompt": template.fill(values)}
    if values.get(CUSTOM_ID):
        prompt[CUSTOM_ID] = values[CUSTOM_ID]
    return validate(prompt)


def _normalised(column: str) -> str:
    return column.lower().translate({ord(sign): None for sign in " _-"})
