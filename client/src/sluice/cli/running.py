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

from sluice.cli.bar import Bar
from sluice.cli.exits import Exit, Terminated
from sluice.cli.journal import History, Journal, journal_of
from sluice.cli.output import Output, is_stream, open_output
from sluice.cli.results import Shape, head_of, shape_of, writer_of
from sluice.cli.run import Job, Progress
from sluice.cli.service import Service
from sluice.cli.start import STANDARD, Identity, checked_source, history_of, new_nonce, opened, source_of
from sluice.cli.tally import Tally
from sluice.retries import Retry


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says."""

    source: str
    output: str
    options: dict[str, Any] = field(repr=False)
    template: str | None = field(repr=False)
    form: str | None
    shape: Shape | None
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


def run_file(service: Service, wish: Wish, console: Console) -> Exit:
    """Run a file and return how it ended.

    Raises:
        Stop, SluiceError: it did not get to its end.

    """
    with opened(wish.source) as file:
        is_workflow = "workflow" in wish.options
        source = source_of(file, wish.source, wish.form, wish.template, holds_inputs=is_workflow)
        checked = checked_source(source, wish.name, wish.options, console)
        if wish.check_only:
            console.print(f"{wish.name} is right: {checked.total:,} prompts", highlight=False)
            return Exit.COMPLETED
        with service.client() as sluice:
            url = sluice.url
        shape = wish.shape or (shape_of(wish.output) if wish.path else Shape.JSONL)
        written = f"{shape} {'in order' if wish.ordered else 'as completed'}"
        # The template is in the prompts that it makes; here it is for telling two runs apart.
        identity = Identity(checked.digest, {**wish.options, "template": wish.template}, url, written)
        if not (wish.path and journal_of(wish.path).exists()):
            # Before anything is made: a wrong key is to leave no files behind.
            service.require()
        with results_of(wish, identity, checked.total) as (history, journal, output):
            if history.tally.ended == checked.total:
                return _finished(history.tally, wish, console, "was done before")
            service.require()
            if history.offset == 0:
                output.head(head_of(shape, source.columns))
            header = history.header
            job = Job(source, wish.options, header["chunk"], wish.in_flight, wish.ordered, header["nonce"])
            progress = Progress(job, history, journal, output, writer_of(shape, source.columns))
            bar = Bar(Console(stderr=True, quiet=wish.quiet), wish.name, checked.total, history.tally)
            try:
                _go(service, progress, bar)
            except KeyboardInterrupt as end:
                _interrupted(history.tally, checked.total, wish, console)
                return Exit.TERMINATED if isinstance(end, Terminated) else Exit.INTERRUPTED
        return _finished(history.tally, wish, console, "is done")


@contextmanager
def results_of(wish: Wish, identity: Identity, total: int) -> Iterator[tuple[History, Journal | None, Output]]:
    """Open where results go, at the place where the last run stopped.

    Raises:
        Stop: it can't be written, or is another run's.

    """
    header = identity.header(wish.chunk_size, total, new_nonce(fresh=wish.fresh))
    with ExitStack() as ends:
        if wish.path is None:
            stream = sys.stdout.fileno() if wish.output == STANDARD else open_output(Path(wish.output))
            if wish.output != STANDARD:
                ends.callback(os.close, stream)
            history = History(header)
            yield history, None, Output(stream, wish.output, None, history.tally, time.monotonic)
            return
        file = open_output(wish.path)
        ends.callback(os.close, file)
        journal = ends.enter_context(closing(Journal(journal_of(wish.path))))
        history = history_of(wish.path, journal, identity, header, overwrite=wish.overwrite, fresh=wish.fresh)
        output = Output(file, wish.output, journal, history.tally, time.monotonic)
        output.go_on(history.offset)
        yield history, journal, output


def _go(service: Service, progress: Progress, bar: Bar) -> None:
    def on_retry(retry: Retry) -> None:
        bar.note(f"{retry.error}; asking again in {retry.seconds:.0f} s", retry.seconds)

    with service.client(on_retry=on_retry) as sluice, bar:
        progress.go(sluice, bar)


def _finished(tally: Tally, wish: Wish, console: Console, how: str) -> Exit:
    code = Exit.FAILED if tally.without_answer else Exit.COMPLETED
    if wish.as_json:
        # Standard output may be full of results.
        file = sys.stdout if wish.output != STANDARD else sys.stderr
        print(json.dumps({**tally.as_json(), "output": wish.output, "exit": code}), file=file)
    elif not wish.quiet:
        bad = f", {tally.without_answer:,} without an answer" if tally.without_answer else ""
        place = f": see {wish.output}" if wish.output != STANDARD else ""
        console.print(f"{wish.name} {how}, {tally.completed:,} answered{bad}{place}", highlight=False, markup=False)
    return code


def _interrupted(tally: Tally, total: int, wish: Wish, console: Console) -> None:
    text = f"Interrupted: {tally.ended:,} of {total:,} are written. "
    if wish.path:
        text += f"The same command goes on there; `sluice cancel {wish.output}` takes back what was sent."
    else:
        text += "What was sent goes on; the same command asks nothing twice."
    console.print(text, highlight=False, markup=False, soft_wrap=True)
