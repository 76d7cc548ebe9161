"""Send a file's prompts and write their results, once, however often the command is run."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sluice.answers import Submission
from sluice.cli.bar import Bar
from sluice.cli.exits import Exit, Stop
from sluice.cli.journal import History, Journal, Sent
from sluice.cli.output import Output
from sluice.cli.results import Write
from sluice.cli.source import BadLine, Record, Source
from sluice.client import Sluice
from sluice.errors import InvalidRequestError
from sluice.mapping import Chunk, Outcome
from sluice.watching import Standing

MOST_REQUEST_BYTES: Final = 4_000_000
"""Of the prompts of one call, as JSON in ASCII; the API takes 6 MB."""
MOST_QUEUED_BYTES: Final = 16_000_000
"""The same with what the call says for each of them; the API takes 20 MB."""
HOLD_SECONDS: Final = 2.0
"""For how long the service may keep a question: the bar is to be alive."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: a checked source, what is said with each call, how many prompts go into one, how many at a time."""

    source: Source
    options: dict[str, Any] = field(repr=False)
    chunk_size: int
    in_flight: int
    ordered: bool
    nonce: str = ""
    """What makes keys of their own for prompts that were asked before."""


class Progress:
    """A job under way."""

    def __init__(self, job: Job, history: History, journal: Journal | None, output: Output, write: Write) -> None:
        self._job = job
        self._history = history
        self._journal = journal
        self._output = output
        self._write = write
        self._records: dict[int, Record] = {}
        """Those under way, by their places."""
        self._last: list[Record] = []
        """Those of the chunk that was taken last: the one being sent."""

    def go(self, sluice: Sluice, bar: Bar) -> None:
        """Send and write until all is done.

        Raises:
            Stop: what was sent was refused, or a result could not be written.
            SluiceError: the service is not there.

        """

        def on_look(standing: Standing) -> None:
            self._output.commit(now=False)
            bar.look(standing)

        outcomes = sluice.run(
            self._chunks(),
            self._job.options,
            in_flight=self._job.in_flight,
            ordered=self._job.ordered,
            on_accepted=self._accepted,
            on_look=on_look,
            hold=HOLD_SECONDS,
        )
        try:
            for outcome in outcomes:
                self._take(outcome, bar)
        except InvalidRequestError as error:
            raise Stop(self._explained(error), Exit.REFUSED) from error
        finally:
            self._output.commit()

    def _take(self, outcome: Outcome, bar: Bar) -> None:
        record = self._records.pop(outcome.index)
        self._output.write(self._write(record, outcome.task), outcome.index, outcome.task)
        bar.ended()

    def _accepted(self, chunk: Chunk, submission: Submission) -> None:
        if self._journal:
            self._journal.accepted(chunk.first, submission.batch_id)

    def _chunks(self) -> Iterator[Chunk]:
        records = (found for found in self._job.source.read() if not isinstance(found, BadLine))
        for first, group in cut(records, self._job.chunk_size, common_bytes(self._job.options)):
            places = range(first, first + len(group))
            done = frozenset(place for place in places if self._history.is_done(place))
            if len(done) == len(group):
                continue
            self._last = group
            prompts = [record.prompt for record in group]
            key = key_of(first, prompts, self._job.options, self._job.nonce)
            sent = self._history.sent.get(first)
            if self._journal and sent is None:
                self._journal.sending(Sent(first, len(group), key))
            self._records.update(
                (place, record) for place, record in zip(places, group, strict=True) if place not in done
            )
            yield Chunk(first, prompts, key, sent.batch_id if sent else None, done)

    def _explained(self, error: InvalidRequestError) -> str:
        """Say of which lines the service speaks."""
        lines = []
        for fault in error.faults:
            _, _, rest = fault.pointer.removeprefix("/").partition("/")  # behind `prompts` or `inputs`
            place, _, where = rest.partition("/")
            if place.isdecimal() and int(place) < len(self._last):
                where = f"{where}: " if where else ""
                lines.append(f"line {self._last[int(place)].line}: {where}{fault.detail} ({fault.code})")
            else:
                lines.append(f"{fault.pointer}: {fault.detail} ({fault.code})")
        return "The service refuses what was sent:\n" + "\n".join(lines or [str(error)])


def cut(records: Iterator[Record], most: int, common: int) -> Iterator[tuple[int, list[Record]]]:
    """Cut prompts into calls, each with the place of its first: so many at most, and none too large."""
    group: list[Record] = []
    first = size = 0
    for record in records:
        length = len(json.dumps(record.prompt))
        full = size + length > MOST_REQUEST_BYTES or size + length + common * (len(group) + 1) > MOST_QUEUED_BYTES
        if group and (full or len(group) == most):
            yield first, group
            first, group, size = first + len(group), [], 0
        group.append(record)
        size += length
    if group:
        yield first, group


def common_bytes(options: dict[str, Any]) -> int:
    """Give what each prompt weighs by what is said of all."""
    return len(json.dumps({name: options.get(name) for name in ("system", "params") if options.get(name)}))


def key_of(first: int, prompts: list[Any], options: dict[str, Any], nonce: str) -> str:
    """Name a call after what it says: the same prompts in the same place, with the same options, are asked once.

    So a run whose journal is lost, or whose file was mended further on, pays for nothing twice as long as the service
    remembers.
    """
    said = json.dumps([1, nonce, first, prompts, options], sort_keys=True)
    return f"run-{hashlib.sha256(said.encode()).hexdigest()}"
