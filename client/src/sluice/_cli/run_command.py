"""The command `run`, from the file to the last result."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from sluice._cli.connection import Connection
from sluice._cli.exit_codes import ExitCode, Terminated
from sluice._cli.journal import Journal, RunHistory, journal_of
from sluice._cli.outcome_counts import OutcomeCounts
from sluice._cli.output import Output, is_stream, open_output
from sluice._cli.progress_bar import RunProgressBar
from sluice._cli.result_formats import ResultFormat, head_of, shape_of, writer_of
from sluice._cli.run_execution import RunExecution, RunPlan
from sluice._cli.run_setup import STANDARD, RunIdentity, checked_source, history_of, new_nonce, opened, source_of
from sluice._retries import Retry


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says."""

    source: str
    output: str
    call_options: dict[str, Any] = field(repr=False)
    template: str | None = field(repr=False)
    form: str | None
    shape: ResultFormat | None
    ordered: bool
    in_flight: int
    chunk_size: int
    fresh: bool
    overwrite: bool
    check_only: bool
    quiet: bool
    as_json: bool

    @property
    def name(self) -> str:
        """Call the source something."""
        return "standard input" if self.source == STANDARD else Path(self.source).name

    @property
    def path(self) -> Path | None:
        """Give the file of results; None for what can't be gone on with."""
        return None if self.output == STANDARD or is_stream(Path(self.output)) else Path(self.output)


def run_file(connection: Connection, options: RunOptions, console: Console) -> ExitCode:
    """Run a file and return how it ended.

    Raises:
        Stop, SluiceError: it did not get to its end.

    """
    with opened(options.source) as file:
        is_workflow = "workflow" in options.call_options
        source = source_of(file, options.source, options.form, options.template, holds_inputs=is_workflow)
        checked = checked_source(source, options.name, options.call_options, console)
        if options.check_only:
            console.print(f"{options.name} is right: {checked.total:,} prompts", highlight=False)
            return ExitCode.COMPLETED
        with connection.client() as sluice:
            url = sluice.url
        shape = options.shape or (shape_of(options.output) if options.path else ResultFormat.JSONL)
        written = f"{shape} {'in order' if options.ordered else 'as completed'}"
        # The template is in the prompts that it makes; here it is for telling two runs apart.
        identity = RunIdentity(checked.digest, {**options.call_options, "template": options.template}, url, written)
        if not (options.path and journal_of(options.path).exists()):
            # Before anything is made: a wrong key is to leave no files behind.
            connection.require()
        with results_of(options, identity, checked.total) as (history, journal, output):
            if history.counts.ended == checked.total:
                return _finished(history.counts, options, console, "was done before")
            connection.require()
            if history.offset == 0:
                output.head(head_of(shape, source.columns))
            header = history.header
            plan = RunPlan(
                source, options.call_options, header["chunk"], options.in_flight, options.ordered, header["nonce"]
            )
            execution = RunExecution(plan, history, journal, output, writer_of(shape, source.columns))
            progress = RunProgressBar(
                Console(stderr=True, quiet=options.quiet), options.name, checked.total, history.counts
            )
            try:
                _execute(connection, execution, progress)
            except KeyboardInterrupt as end:
                _interrupted(history.counts, checked.total, options, console)
                return ExitCode.TERMINATED if isinstance(end, Terminated) else ExitCode.INTERRUPTED
        return _finished(history.counts, options, console, "is done")


@contextmanager
def results_of(
    options: RunOptions, identity: RunIdentity, total: int
) -> Iterator[tuple[RunHistory, Journal | None, Output]]:
    """Open where results go, at the place where the last run stopped.

    Raises:
        Stop: it can't be written, or is another run's.

    """
    header = identity.header(options.chunk_size, total, new_nonce(fresh=options.fresh))
    with ExitStack() as ends:
        if options.path is None:
            stream = sys.stdout.fileno() if options.output == STANDARD else open_output(Path(options.output))
            if options.output != STANDARD:
                ends.callback(os.close, stream)
            history = RunHistory(header)
            yield history, None, Output(stream, options.output, None, history.counts, time.monotonic)
            return
        file = open_output(options.path)
        ends.callback(os.close, file)
        journal = ends.enter_context(closing(Journal(journal_of(options.path))))
        history = history_of(options.path, journal, identity, header, overwrite=options.overwrite, fresh=options.fresh)
        output = Output(file, options.output, journal, history.counts, time.monotonic)
        output.resume(history.offset)
        yield history, journal, output


def _execute(connection: Connection, execution: RunExecution, progress: RunProgressBar) -> None:
    def on_retry(retry: Retry) -> None:
        progress.note(f"{retry.error}; asking again in {retry.seconds:.0f} s", retry.seconds)

    with connection.client(on_retry=on_retry) as sluice, progress:
        execution.run(sluice, progress)


def _finished(counts: OutcomeCounts, options: RunOptions, console: Console, how: str) -> ExitCode:
    code = ExitCode.FAILED if counts.without_answer else ExitCode.COMPLETED
    if options.as_json:
        # Standard output may be full of results.
        file = sys.stdout if options.output != STANDARD else sys.stderr
        print(json.dumps({**counts.as_json(), "output": options.output, "exit": code}), file=file)
    elif not options.quiet:
        bad = f", {counts.without_answer:,} without an answer" if counts.without_answer else ""
        place = f": see {options.output}" if options.output != STANDARD else ""
        console.print(f"{options.name} {how}, {counts.completed:,} answered{bad}{place}", highlight=False, markup=False)
    return code


def _interrupted(counts: OutcomeCounts, total: int, options: RunOptions, console: Console) -> None:
    text = f"Interrupted: {counts.ended:,} of {total:,} are written. "
    if options.path:
        text += f"The same command goes on there; `sluice cancel {options.output}` takes back what was sent."
    else:
        text += "What was sent goes on; the same command asks nothing twice."
    console.print(text, highlight=False, markup=False, soft_wrap=True)
