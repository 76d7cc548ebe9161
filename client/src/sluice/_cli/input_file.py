"""Read a file of prompts: JSON Lines, CSV or plain lines. Neither a long file nor a long line is held in memory."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from sluice._cli.prompt_parser import BadPromptError, checked, input_of, prompt_of
from sluice._cli.template import BadTemplateError, Template

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes; a prompt has a quarter of a megabyte at most, and its line may be written wider."""
CUSTOM_ID: Final = "custom_id"
BOM: Final = b"\xef\xbb\xbf"
OTHER_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


class Format(StrEnum):
    """How a file is read."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A prompt and the line it starts on, counted from 1; `row` is what its row of a CSV file says."""

    line: int
    prompt: dict[str, Any] = field(repr=False)
    row: dict[str, str] | None = field(default=None, repr=False)

    @property
    def custom_id(self) -> str | None:
        """Give the caller's own name of it."""
        return self.prompt.get(CUSTOM_ID)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no prompt, and why."""

    line: int
    reason: str


def format_of(path: str, start: bytes) -> Format:
    """Tell a file's format by its name, or where that says nothing by how it starts."""
    by_name = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".csv": Format.CSV, ".tsv": Format.TSV}
    by_name |= {".txt": Format.LINES}
    guess = Format.JSONL if start.removeprefix(BOM).lstrip()[:1] in {b"{", b'"'} else Format.LINES
    return by_name.get(Path(path).suffix.lower(), guess)


class InputFile:
    """A file of prompts, read from its start each time; `digest` is of what was read, once that came to its end."""

    def __init__(self, file: BinaryIO, form: Format, template: Template | None, *, holds_inputs: bool = False) -> None:
        """Take the file and how to read it; with `holds_inputs` it is of the inputs of a workflow."""
        self._file = file
        self.form = form
        self._template = template
        self._holds_inputs = holds_inputs
        self._hash = hashlib.sha256()
        self.columns: list[str] = []

    @property
    def digest(self) -> str:
        """Give the SHA-256 of the bytes of the last reading."""
        return self._hash.hexdigest()

    def read(self) -> Iterator[InputRecord | BadLine]:
        """Yield each prompt, or what is wrong with its line; blank lines are none."""
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
        value: Any = line if self.form is Format.LINES else _strict_json(line)
        if self._holds_inputs:
            return input_of(value)
        if self._template is None:
            return prompt_of(value)
        return _filled(self._template, {"prompt": value} if isinstance(value, str) else value)

    def _lines(self) -> Iterator[tuple[int, "str | BadLine"]]:
        number = 0
        while raw := self._file.readline(LONGEST_LINE):
            number += 1
            self._hash.update(raw)
            if number == 1:
                if raw.startswith(OTHER_BOMS):
                    yield 1, BadLine(1, "is UTF-16; save the file as UTF-8")
                    return
                raw = raw.removeprefix(BOM)
            if len(raw) >= LONGEST_LINE and not raw.endswith(b"\n"):
                while raw and not raw.endswith(b"\n"):
                    raw = self._file.readline(LONGEST_LINE)
                    self._hash.update(raw)
                yield number, BadLine(number, f"is longer than {LONGEST_LINE:,} bytes")
                continue
            try:
                yield number, raw.decode()
            except UnicodeDecodeError as error:
                yield number, BadLine(number, f"is not UTF-8, from its byte {error.start + 1} on")

    def _rows(self) -> Iterator[InputRecord | BadLine]:
        bad: list[BadLine] = []
        csv.field_size_limit(LONGEST_LINE)
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
                # What comes after has lost its quotes: it would be reported line by line, and wrongly.
                yield BadLine(start, f"is no CSV: {error}; nothing after it was read")
                for _ in self._lines():
                    pass
                return
            if bad:
                yield from bad
                bad.clear()
            elif not self.columns and cells:
                self.columns = cells
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
        if self._template is None:
            return (
                ""
                if "prompt" in self.columns
                else f"has no column prompt, but {names}; --template makes prompts of columns"
            )
        missing = sorted(self._template.variables - set(self.columns))
        return f"has no column {', '.join(missing)}, which the template uses, but {names}" if missing else ""

    def _row(self, start: int, cells: list[str]) -> InputRecord | BadLine:
        if len(cells) != len(self.columns):
            return BadLine(start, f"has {len(cells)} cells; the first line names {len(self.columns)} columns")
        row = dict(zip(self.columns, cells, strict=True))
        if self._holds_inputs:
            return InputRecord(start, row, row)
        given = {name: row[name] for name in ("prompt", CUSTOM_ID, "model", "system") if row.get(name)}
        try:
            prompt = _filled(self._template, row) if self._template else prompt_of(given)
        except (BadPromptError, BadTemplateError) as error:
            return BadLine(start, str(error))
        return InputRecord(start, prompt, row)


def _filled(template: Template, values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise BadPromptError("must be an object with the variables of the template")
    prompt: dict[str, Any] = {"prompt": template.fill(values)}
    if values.get(CUSTOM_ID):
        prompt[CUSTOM_ID] = values[CUSTOM_ID]
    return checked(prompt)


def _strict_json(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise BadPromptError("is nested too deep") from None
    except json.JSONDecodeError as error:
        raise BadPromptError(f"is no JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeEncodeError:
        raise BadPromptError("has half a character (a lone surrogate)") from None
    except BadPromptError:
        raise
    except ValueError:
        raise BadPromptError("has a number of too many digits") from None
    return value


def _no_constant(name: str) -> NoReturn:
    raise BadPromptError(f"is no JSON: {name}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise BadPromptError(f"has a field twice: {next(name for name in names if names.count(name) > 1)}")
    return fields
