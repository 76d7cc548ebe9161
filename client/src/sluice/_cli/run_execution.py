"""Send a file's prompts and write their results, once, however often the command is run."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sluice._bulk import Chunk, Outcome
from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.input_file import BadLine, InputFile, InputRecord
from sluice._cli.journal import Journal, RunHistory, SentChunk
from sluice._cli.output import Output
from sluice._cli.progress_bar import RunProgressBar
from sluice._cli.result_formats import Write
from sluice._client import Sluice
from sluice._exceptions import InvalidRequestError
from sluice._models import Submission
from sluice._polling import PendingProgress

MOST_REQUEST_BYTES: Final = 4_000_000
"""Of the prompts of one call, as JSON in ASCII; the API takes 6 MB."""
MOST_QUEUED_BYTES: Final = 16_000_000
"""The same with what the call says for each of them; the API takes 20 MB."""
HOLD_SECONDS: Final = 2.0
"""For how long the service may keep a question: the progress is to be alive."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to run: a checked source, what is said with each call, how many prompts go into one, how many at a time."""

    source: InputFile
    options: dict[str, Any] = field(repr=False)
    chunk_size: int
    in_flight: int
    ordered: bool
    nonce: str = ""
    """What makes keys of their own for prompts that were asked before."""


class RunExecution:
    """A plan under way."""

    def __init__(
        self, plan: RunPlan, history: RunHistory, journal: Journal | None, output: Output, write: Write
    ) -> None:
        self._plan = plan
        self._history = history
        self._journal = journal
        self._output = output
        self._write = write
        self._records: dict[int, InputRecord] = {}
        """Those under way, by their places."""
        self._last: list[InputRecord] = []
        """Those of the chunk that was taken last: the one being sent."""

    def run(self, sluice: Sluice, progress: RunProgressBar) -> None:
        """Send and write until all is done.

        Raises:
            Stop: what was sent was refused, or a result could not be written.
            SluiceError: the service is not there.

        """

        def on_poll(standing: PendingProgress) -> None:
            self._output.commit(now=False)
            progress.update(standing)

        outcomes = sluice.run(
            self._chunks(),
            self._plan.options,
            in_flight=self._plan.in_flight,
            ordered=self._plan.ordered,
            on_accepted=self._accepted,
            on_poll=on_poll,
            hold=HOLD_SECONDS,
        )
        try:
            for outcome in outcomes:
                self._take(outcome, progress)
        except InvalidRequestError as error:
            raise ExitError(self._explained(error), ExitCode.REFUSED) from error
        finally:
            self._output.commit()

    def _take(self, outcome: Outcome, progress: RunProgressBar) -> None:
        record = self._records.pop(outcome.index)
        self._output.write(self._write(record, outcome.task), outcome.index, outcome.task)
        progress.task_ended()

    def _accepted(self, chunk: Chunk, submission: Submission) -> None:
        if self._journal:
            self._journal.accepted(chunk.first, submission.batch_id)

    def _chunks(self) -> Iterator[Chunk]:
        records = (found for found in self._plan.source.read() if not isinstance(found, BadLine))
        for first, group in split_into_calls(records, self._plan.chunk_size, common_bytes(self._plan.options)):
            places = range(first, first + len(group))
            done = frozenset(place for place in places if self._history.is_done(place))
            if len(done) == len(group):
                continue
            self._last = group
            prompts = [record.prompt for record in group]
            key = idempotency_key_of(first, prompts, self._plan.options, self._plan.nonce)
            sent = self._history.sent.get(first)
            if self._journal and sent is None:
                self._journal.sending(SentChunk(first, len(group), key))
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


def split_into_calls(records: Iterator[InputRecord], most: int, common: int) -> Iterator[tuple[int, list[InputRecord]]]:
    """Cut prompts into calls, each with the place of its first: so many at most, and none too large."""
    group: list[InputRecord] = []
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


def idempotency_key_of(first: int, prompts: list[Any], options: dict[str, Any], nonce: str) -> str:
    """Name a call after what it says: the same prompts in the same place, with the same options, are asked once.

    So a run whose journal is lost, or whose file was mended further on, pays for nothing twice as long as the service
    remembers.
    """
    said = json.dumps([1, nonce, first, prompts, options], sort_keys=True)
    return f"run-{hashlib.sha256(said.encode()).hexdigest()}"
