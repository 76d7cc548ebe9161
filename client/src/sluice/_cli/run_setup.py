"""Prepare a run: read and validate the file, and find out where the last run stopped."""

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from rich.console import Console
from rich.text import Text

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.file_check import FileCheck, check_file
from sluice._cli.input_file import BadLine, Format, InputFile, detect_format, is_json_array
from sluice._cli.journal import Journal, RunHistory, journal_path, read_history
from sluice._cli.sanitizer import for_terminal
from sluice._cli.template import BadTemplateError, Template

STDIO: Final = "-"
MAX_SHOWN_LINES: Final = 100
"""Maximum number of bad lines that are shown."""
_START_BYTES: Final = 1024


@contextmanager
def open_source(path: str) -> Iterator[BinaryIO]:
    """Open a prompt file so that it can be read twice; the content of a pipe is spooled to disk."""
    if path != STDIO and Path(path).is_dir():
        raise ExitError(f"{path} is a directory", ExitCode.USAGE)
    try:
        file = sys.stdin.buffer if path == STDIO else open(path, "rb")  # noqa: PTH123, SIM115 - closed below
    except OSError as error:
        raise ExitError(f"Could not read {path}: {error.strerror}", ExitCode.USAGE) from error
    with file:
        if file.seekable() and path != STDIO:
            yield file
            return
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(file, spool)
            yield spool


def input_file_of(
    file: BinaryIO, path: str, form: str | None, template: str | None, *, holds_inputs: bool = False
) -> InputFile:
    """Return the input file; raises ExitError for an invalid template, or for plain text as workflow inputs."""
    file.seek(0)
    start = file.read(_START_BYTES)
    try:
        filled = Template.of(template) if template is not None else None
    except BadTemplateError as error:
        raise ExitError(f"The template {error}", ExitCode.USAGE) from None
    if not form and is_json_array(path, start):
        raise ExitError(
            f"{path} is a JSON array; sluice reads JSON Lines, one value per line. Convert it: "
            f"jq -c '.[]' {path} > prompts.jsonl. To send each line as text, add --format lines",
            ExitCode.USAGE,
        )
    kind = Format(form) if form else detect_format(path, start)
    if holds_inputs and (filled is not None or kind is Format.LINES):
        raise ExitError("The inputs of a workflow must be JSON Lines or CSV, without --template", ExitCode.USAGE)
    return InputFile(file, kind, filled, holds_inputs=holds_inputs)


def validate_source(source: InputFile, name: str, options: dict[str, Any], console: Console) -> FileCheck:
    """Validate the whole file and show every bad line.

    Raises:
        ExitError: there is a bad line, or no prompt.

    """
    shown = 0

    def on_bad(bad: BadLine) -> None:
        nonlocal shown
        shown += 1
        if shown <= MAX_SHOWN_LINES:
            text = for_terminal(f"{name}, line {bad.line}: {bad.reason}")
            console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)

    with console.status(Text(f"Checking {name} …")) as status:
        checked = check_file(
            source, options, on_bad, lambda line: status.update(Text(f"Checking {name}: {line:,} lines"))
        )
    if checked.bad:
        more = f" ({checked.bad - MAX_SHOWN_LINES:,} of them not shown)" if checked.bad > MAX_SHOWN_LINES else ""
        lines = "line is" if checked.bad == 1 else "lines are"
        raise ExitError(f"{checked.bad:,} {lines} invalid{more}; nothing was sent", ExitCode.USAGE)
    if not checked.total:
        raise ExitError(f"{name} has no prompts", ExitCode.USAGE)
    return checked


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What two runs must share to be the same run: the file, the options, the service and the output format."""

    source: str
    options: dict[str, Any] = field(repr=False)
    url: str
    written: str

    def header(self, chunk_size: int, total: int, nonce: str) -> dict[str, Any]:
        """Return the journal's header; it holds only a digest of the options, which may be private."""
        digest = hashlib.sha256(json.dumps(self.options, sort_keys=True).encode()).hexdigest()
        identity = {"source": self.source, "options": digest, "url": self.url, "written": self.written}
        return {**identity, "chunk": chunk_size, "total": total, "nonce": nonce}

    def differences(self, header: dict[str, Any]) -> list[str]:
        """Return descriptions of what differs from another run's journal."""
        words = {
            "source": "the input file",
            "options": "the options (template, model, system, params, metadata, deadline, retention)",
            "url": "the service URL",
            "written": "the output format",
        }
        own = self.header(0, 0, "")
        return [word for name, word in words.items() if header.get(name) != own[name]]


def load_or_begin(  # noqa: PLR0913 - all are passed by name
    output: Path, journal: Journal, identity: RunIdentity, header: dict[str, Any], *, overwrite: bool, fresh: bool
) -> RunHistory:
    """Resume the last run or begin a new one, and make the journal ready for writing.

    Raises:
        ExitError: the results file belongs to another run, or to none.

    """
    size = output.stat().st_size
    history = None if overwrite else read_history(journal_path(output), size)
    # --fresh resumes an interrupted run that was itself --fresh; any other run starts over.
    if fresh and history and not (history.header["nonce"] and history.counts.ended < history.header["total"]):
        history, overwrite = None, True
    if history and not history.sent:
        # The run has sent nothing, so its options don't bind the next run.
        history, overwrite = None, True
    if history is None:
        if size and not overwrite:
            journal.discard_if_empty()
            raise ExitError(
                f"{output} exists and was not written by `sluice run`; --overwrite replaces it", ExitCode.USAGE
            )
        os.truncate(output, 0)
        journal.begin(header)
        return RunHistory(header)
    if differences := identity.differences(dict(history.header)):
        raise ExitError(
            f"{output} belongs to another run. Different: {', '.join(differences)}.\n"
            "--overwrite starts over; unchanged prompts at the same position are not submitted again.",
            ExitCode.USAGE,
        )
    journal.resume(history.length)
    return history


def new_nonce(*, fresh: bool) -> str:
    """Return a nonce for the idempotency keys of a --fresh run; empty for any other run."""
    return secrets.token_hex(8) if fresh else ""
