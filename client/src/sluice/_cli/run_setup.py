"""Prepare a run: read the file, refuse what can't go well, and find out where the last run stopped."""

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

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.file_check import FileCheck, check_file
from sluice._cli.input_file import BadLine, Format, InputFile, format_of
from sluice._cli.journal import Journal, RunHistory, journal_of, read_history
from sluice._cli.run_execution import common_bytes
from sluice._cli.template import BadTemplateError, Template

STANDARD: Final = "-"
SHOWN_LINES: Final = 100
"""So many bad lines are shown one by one."""
_START_BYTES: Final = 1024


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file of prompts for reading more than once; what comes through a pipe is put on disk for that."""
    if path != STANDARD and Path(path).is_dir():
        raise ExitError(f"{path} is a folder", ExitCode.USAGE)
    try:
        file = sys.stdin.buffer if path == STANDARD else open(path, "rb")  # noqa: PTH123, SIM115 - closed below
    except OSError as error:
        raise ExitError(f"Could not read {path}: {error.strerror}", ExitCode.USAGE) from error
    with file:
        if file.seekable() and path != STANDARD:
            yield file
            return
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(file, spool)
            yield spool


def source_of(
    file: BinaryIO, path: str, form: str | None, template: str | None, *, holds_inputs: bool = False
) -> InputFile:
    """Say how a file is to be read; raises Stop for a template that is none, or for lines that are to be inputs."""
    start = file.read(_START_BYTES)
    try:
        filled = Template.of(template) if template is not None else None
    except BadTemplateError as error:
        raise ExitError(f"The template {error}", ExitCode.USAGE) from None
    kind = Format(form) if form else format_of(path, start)
    if holds_inputs and (filled is not None or kind is Format.LINES):
        raise ExitError("The inputs of a workflow are JSON Lines or CSV, and take no template", ExitCode.USAGE)
    return InputFile(file, kind, filled, holds_inputs=holds_inputs)


def checked_source(source: InputFile, name: str, options: dict[str, Any], console: Console) -> FileCheck:
    """Read the whole file, and show every line that is no prompt.

    Raises:
        Stop: there is such a line, or no prompt at all.

    """
    shown = 0

    def on_bad(bad: BadLine) -> None:
        nonlocal shown
        shown += 1
        if shown <= SHOWN_LINES:
            text = f"{name}, line {bad.line}: {bad.reason}"
            console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)

    with console.status(f"Checking {name} …") as status:
        checked = check_file(
            source, common_bytes(options), on_bad, lambda line: status.update(f"Checking {name}: {line:,} lines")
        )
    if checked.bad:
        more = f" ({checked.bad - SHOWN_LINES:,} more are not shown)" if checked.bad > SHOWN_LINES else ""
        lines = "line is" if checked.bad == 1 else "lines are"
        raise ExitError(f"{checked.bad:,} {lines} wrong{more}; nothing was sent", ExitCode.USAGE)
    if not checked.total:
        raise ExitError(f"{name} has no prompts", ExitCode.USAGE)
    return checked


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What makes a run the same run: the file, what is said with it, the service, and how results are written."""

    source: str
    options: dict[str, Any] = field(repr=False)
    url: str
    written: str

    def header(self, chunk_size: int, total: int, nonce: str) -> dict[str, Any]:
        """Write it for a journal; what was said may be private, so only its digest."""
        said = hashlib.sha256(json.dumps(self.options, sort_keys=True).encode()).hexdigest()
        identity = {"source": self.source, "options": said, "url": self.url, "written": self.written}
        return {**identity, "chunk": chunk_size, "total": total, "nonce": nonce}

    def differences(self, header: dict[str, Any]) -> list[str]:
        """Name what another run's journal has otherwise."""
        words = {
            "source": "the file of prompts",
            "options": "what is said with it (template, model, system, params, times)",
            "url": "the service",
            "written": "how results are written",
        }
        own = self.header(0, 0, "")
        return [word for name, word in words.items() if header.get(name) != own[name]]


def history_of(  # noqa: PLR0913 - each by name
    output: Path, journal: Journal, identity: RunIdentity, header: dict[str, Any], *, overwrite: bool, fresh: bool
) -> RunHistory:
    """Find out where the last run stopped, or begin: the journal is ready to be written then.

    Raises:
        Stop: the file of results is another run's, or nobody knows whose.

    """
    size = output.stat().st_size
    history = None if overwrite else read_history(journal_of(output), size)
    # A run that asks anew goes on if it was stopped; one that was not like that, or is at its end, is begun anew.
    if fresh and history and not (history.header["nonce"] and history.counts.ended < history.header["total"]):
        history, overwrite = None, True
    if history and not history.sent:
        # It never came to anything: no reason to hold anybody to it.
        history, overwrite = None, True
    if history is None:
        if size and not overwrite:
            journal.discard_if_empty()
            raise ExitError(f"{output} exists and is no run's; --overwrite replaces it", ExitCode.USAGE)
        os.truncate(output, 0)
        journal.begin(header)
        return RunHistory(header)
    if differences := identity.differences(dict(history.header)):
        raise ExitError(
            f"{output} belongs to another run; what differs: {', '.join(differences)}.\n"
            "--overwrite starts anew; prompts that stand where they stood are not asked again.",
            ExitCode.USAGE,
        )
    journal.resume(history.length)
    return history


def new_nonce(*, fresh: bool) -> str:
    """Make what sets the keys of this run apart, if they are to be."""
    return secrets.token_hex(8) if fresh else ""
