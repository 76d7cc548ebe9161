"""The command `run`, from reading the file to writing the last result."""

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
from sluice._cli.estimate import Price
from sluice._cli.exit_codes import ExitCode, ExitError, Terminated
from sluice._cli.file_check import FileCheck
from sluice._cli.healing import Healing, HealingPlan
from sluice._cli.journal import Journal, RunHistory, finish_replacement, journal_path
from sluice._cli.outcome_counts import OutcomeCounts
from sluice._cli.output import Output, is_stream, open_output
from sluice._cli.progress_bar import RunProgressBar
from sluice._cli.result_formats import ResultFormat, detect_shape, header_of, make_writer
from sluice._cli.run_execution import RunExecution, RunPlan
from sluice._cli.run_setup import (
    STDIO,
    RunIdentity,
    input_file_of,
    load_or_begin,
    new_nonce,
    open_source,
    validate_source,
)
from sluice._cli.sanitizer import for_terminal
from sluice._exceptions import SluiceError
from sluice._retries import Retry


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `run`."""

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
    raw: bool
    price: Price | None = None
    retry_failed: bool = False

    @property
    def name(self) -> str:
        """Return the name of the source for messages."""
        return "standard input" if self.source == STDIO else for_terminal(Path(self.source).name)

    @property
    def path(self) -> Path | None:
        """Return the path of the results file; None for a pipe or device, which can't be resumed."""
        return None if self.output == STDIO or is_stream(Path(self.output)) else Path(self.output)


def run_file(connection: Connection, options: RunOptions, console: Console) -> ExitCode:
    """Run a file to its end.

    Raises:
        ExitError, SluiceError: the run could not finish.

    """
    if options.retry_failed:
        _require_healable(options)
    with open_source(options.source) as file:
        is_workflow = "workflow" in options.call_options
        source = input_file_of(file, options.source, options.form, options.template, holds_inputs=is_workflow)
        checked = validate_source(source, options.name, options.call_options, console)
        if options.check_only:
            _report_check(checked, options, console)
            return ExitCode.COMPLETED
        with connection.client() as sluice:
            url = sluice.url
        shape = options.shape or (detect_shape(options.output) if options.path else ResultFormat.JSONL)
        written = f"{shape} {'in order' if options.ordered else 'as completed'}{' raw' if options.raw else ''}"
        # The prompts already contain the template; here it distinguishes two runs.
        identity = RunIdentity(checked.digest, {**options.call_options, "template": options.template}, url, written)
        write = make_writer(shape, source.columns, raw=options.raw)
        if not (options.path and journal_path(options.path).exists()):
            # Before any file is created: a wrong key must leave no files behind.
            connection.require()
        with open_results(options, identity, checked.total) as (history, journal, output):
            how = "was already complete"
            if history.counts.ended < checked.total:
                how = "is complete"
                connection.require()
                if history.offset == 0:
                    output.head(header_of(shape, source.columns))
                header = history.header
                plan = RunPlan(
                    source, options.call_options, header["chunk"], options.in_flight, options.ordered, header["nonce"]
                )
                execution = RunExecution(plan, history, journal, output, write)
                progress = RunProgressBar(
                    Console(stderr=True, quiet=options.quiet), options.name, checked.total, history.counts
                )
                try:
                    _execute(connection, execution, progress)
                except KeyboardInterrupt as end:
                    _interrupted(history.counts, checked.total, options, console)
                    _report_under_way(execution.under_way, options, console)
                    return ExitCode.TERMINATED if isinstance(end, Terminated) else ExitCode.INTERRUPTED
                except (ExitError, SluiceError):
                    _report_under_way(execution.under_way, options, console)
                    raise
        if not (options.retry_failed and options.path and history.counts.failed):
            return _finished(history.counts, options, console, how)
        # The journal now has every batch of the run.
        healing_plan = HealingPlan(options.path, shape, options.ordered, source, write)
        with open_results(options, identity, checked.total) as (history, journal, _):
            return _heal(connection, healing_plan, (history, journal), options, console)


def _heal(
    connection: Connection,
    plan: HealingPlan,
    run: tuple[RunHistory, Journal | None],
    options: RunOptions,
    console: Console,
) -> ExitCode:
    """Retry the failed prompts of a complete run, and replace their results."""
    history, journal = run
    with connection.client() as sluice:
        healing = Healing(sluice, plan, history)
        try:
            for text in healing.retry():
                if not options.quiet:
                    console.print(for_terminal(text), highlight=False, markup=False, soft_wrap=True)
            healing.wait()
        except KeyboardInterrupt as end:
            _report_under_way(healing.under_way, options, console)
            return ExitCode.TERMINATED if isinstance(end, Terminated) else ExitCode.INTERRUPTED
        except SluiceError:
            _report_under_way(healing.under_way, options, console)
            raise
    counts = healing.rewrite(journal)
    return _finished(counts, options, console, f"has {len(healing.new_results):,} new results")


@contextmanager
def open_results(
    options: RunOptions, identity: RunIdentity, total: int
) -> Iterator[tuple[RunHistory, Journal | None, Output]]:
    """Open the results at the point where the last run stopped.

    Raises:
        ExitError: the file can't be written or belongs to another run.

    """
    header = identity.header(options.chunk_size, total, new_nonce(fresh=options.fresh))
    with ExitStack() as ends:
        if options.path is None:
            stream = sys.stdout.fileno() if options.output == STDIO else open_output(Path(options.output))
            if options.output != STDIO:
                ends.callback(os.close, stream)
            history = RunHistory(header)
            yield history, None, Output(stream, options.output, None, history.counts, time.monotonic, raw=options.raw)
            return
        finish_replacement(options.path)
        file = open_output(options.path)
        ends.callback(os.close, file)
        journal = ends.enter_context(closing(Journal(journal_path(options.path))))
        history = load_or_begin(
            options.path, journal, identity, header, overwrite=options.overwrite, fresh=options.fresh
        )
        output = Output(file, options.output, journal, history.counts, time.monotonic)
        output.resume(history.offset)
        yield history, journal, output


def _execute(connection: Connection, execution: RunExecution, progress: RunProgressBar) -> None:
    def on_retry(retry: Retry) -> None:
        progress.note(for_terminal(f"{retry.error}; retrying in {retry.seconds:.0f} s"), retry.seconds)

    with connection.client(on_retry=on_retry) as sluice, progress:
        execution.run(sluice, progress)


def _finished(counts: OutcomeCounts, options: RunOptions, console: Console, how: str) -> ExitCode:
    code = ExitCode.FAILED if counts.without_answer else ExitCode.COMPLETED
    if options.as_json:
        # Standard output may hold the results.
        file = sys.stdout if options.output != STDIO else sys.stderr
        print(json.dumps({**counts.as_json(), "output": options.output, "exit": code}), file=file)
    elif not options.quiet:
        bad = f", {counts.without_answer:,} without a result" if counts.without_answer else ""
        place = f"; see {for_terminal(options.output)}" if options.output != STDIO else ""
        console.print(
            f"{options.name} {how}: {counts.completed:,} completed{bad}{place}", highlight=False, markup=False
        )
    return code


def _require_healable(options: RunOptions) -> None:
    if options.path is None:
        raise ExitError("--retry-failed needs a results file: -o FILE", ExitCode.USAGE)
    if options.fresh or options.overwrite:
        raise ExitError("--retry-failed can't be combined with --fresh or --overwrite", ExitCode.USAGE)
    shape = options.shape or detect_shape(options.output)
    if not options.ordered and shape is not ResultFormat.JSONL:
        raise ExitError("--retry-failed with --as-completed needs results in the format jsonl", ExitCode.USAGE)


def _report_check(checked: FileCheck, options: RunOptions, console: Console) -> None:
    """Report the number of prompts and, unless a workflow makes the calls, the estimated tokens and cost."""
    estimate, price = checked.estimate, options.price
    totals: dict[str, Any] = {"prompts": checked.total}
    text = f"{options.name} is valid: {checked.total:,} prompts"
    if "workflow" not in options.call_options:
        totals |= {"input_tokens": estimate.input_tokens, "output_tokens": estimate.output_tokens}
        text += f", about {estimate.input_tokens:,} input tokens and {estimate.output_tokens:,} output tokens"
        if price:
            totals["usd"] = f"{estimate.usd(price):f}"
            text += f", ${estimate.usd(price):,.4f}"
        else:
            text += "; add --price INPUT:OUTPUT for the cost"
    if options.as_json:
        print(json.dumps(totals))
    else:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _report_under_way(under_way: dict[str, int], options: RunOptions, console: Console) -> None:
    """Name the batches whose tasks continue, so that paid work can be found, watched and cancelled."""
    if under_way:
        cancel = f"sluice cancel {options.output}" if options.path else "sluice cancel BATCH"
        text = f"{sum(under_way.values()):,} tasks are under way, in {', '.join(under_way)}. To stop them: {cancel}"
        console.print(for_terminal(text), highlight=False, markup=False, soft_wrap=True)


def _interrupted(counts: OutcomeCounts, total: int, options: RunOptions, console: Console) -> None:
    text = f"Interrupted: {counts.ended:,} of {total:,} results are written. "
    if options.path:
        text += "Run the same command to resume."
    else:
        text += "Submitted tasks continue; the same command submits no prompt twice."
    console.print(for_terminal(text), highlight=False, markup=False, soft_wrap=True)
