"""Submit a file's prompts and write their results, each once, even if the command is repeated."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sluice._bulk import Chunk, Outcome
from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.file_check import common_bytes
from sluice._cli.input_file import BadLine, InputFile, InputRecord
from sluice._cli.journal import Journal, RunHistory, SentChunk
from sluice._cli.output import Output
from sluice._cli.progress_bar import RunProgressBar
from sluice._cli.result_formats import Write
from sluice._client import Sluice
from sluice._exceptions import InvalidRequestError
from sluice._models import Submission
from sluice._polling import PendingProgress

MAX_REQUEST_BYTES: Final = 4_000_000
"""Maximum size of the prompts of one call, as JSON in ASCII; the API accepts 6 MB."""
MAX_EXPANDED_BYTES: Final = 16_000_000
"""The same with the call's options added to each prompt; the API accepts 20 MB."""
HOLD_SECONDS: Final = 2.0
"""How long the service may hold a poll: short enough for a live progress display."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The validated source, the options of each call, and the limits."""

    source: InputFile
    options: dict[str, Any] = field(repr=False)
    chunk_size: int
    in_flight: int
    ordered: bool
    nonce: str = ""
    """Makes the idempotency keys differ from those of earlier runs; empty to share them."""


class RunExecution:
    """Execute a plan."""

    def __init__(
        self, plan: RunPlan, history: RunHistory, journal: Journal | None, output: Output, write: Write
    ) -> None:
        self._plan = plan
        self._history = history
        self._journal = journal
        self._output = output
        self._write = write
        self._records: dict[int, InputRecord] = {}
        """The prompts in flight, by index."""
        self._sending: list[InputRecord] = []
        """The prompts of the chunk that is being sent."""
        self._pending: dict[str, int] = {}
        """How many tasks of each accepted batch have not ended."""

    @property
    def under_way(self) -> dict[str, int]:
        """Return how many tasks of each accepted batch have not ended, as far as this run knows."""
        return {batch_id: count for batch_id, count in self._pending.items() if count}

    def run(self, sluice: Sluice, progress: RunProgressBar) -> None:
        """Submit the prompts and write the results until all have ended.

        Raises:
            ExitError: the service rejected a request, or a result could not be written.
            SluiceError: the service is unreachable.

        """

        def on_poll(pending: PendingProgress) -> None:
            self._output.commit(now=False)
            progress.update(pending)

        outcomes = sluice.run(
            self._chunks(),
            self._plan.options,
            in_flight=self._plan.in_flight,
            ordered=self._plan.ordered,
            on_accepted=self._on_accepted,
            on_poll=on_poll,
            hold=HOLD_SECONDS,
        )
        try:
            for outcome in outcomes:
                self._take(outcome, progress)
        except InvalidRequestError as error:
            raise ExitError(self._describe(error), ExitCode.REFUSED) from error
        finally:
            self._output.commit()

    def _take(self, outcome: Outcome, progress: RunProgressBar) -> None:
        record = self._records.pop(outcome.index)
        self._pending[outcome.task.task_id.rpartition("-")[0]] -= 1
        self._output.write(self._write(record, outcome.task), outcome.index, outcome.task)
        progress.task_ended()

    def _on_accepted(self, chunk: Chunk, submission: Submission) -> None:
        self._pending[submission.batch_id] = len(chunk.prompts) - len(chunk.done)
        if self._journal:
            self._journal.accepted(chunk.first, submission.batch_id)

    def _chunks(self) -> Iterator[Chunk]:
        records = (found for found in self._plan.source.read() if not isinstance(found, BadLine))
        for first, group in split_into_calls(records, self._plan.chunk_size, common_bytes(self._plan.options)):
            indexes = range(first, first + len(group))
            done = frozenset(index for index in indexes if self._history.is_done(index))
            if len(done) == len(group):
                continue
            self._sending = group
            prompts = [record.prompt for record in group]
            key = idempotency_key_of(first, prompts, self._plan.options, self._plan.nonce)
            sent = self._history.sent.get(first)
            if self._journal and sent is None:
                self._journal.sending(SentChunk(first, len(group), key))
            self._records.update(
                (index, record) for index, record in zip(indexes, group, strict=True) if index not in done
            )
            batch_id = sent.batch_id if sent else None
            if batch_id:
                self._pending[batch_id] = len(group) - len(done)
            yield Chunk(first, prompts, key, batch_id, done)

    def _describe(self, error: InvalidRequestError) -> str:
        """Convert the service's error pointers to line numbers of the file."""
        lines = []
        for fault in error.faults:
            _, _, rest = fault.pointer.removeprefix("/").partition("/")  # after `prompts` or `inputs`
            index, _, where = rest.partition("/")
            if index.isdecimal() and int(index) < len(self._sending):
                where = f"{where}: " if where else ""
                lines.append(f"line {self._sending[int(index)].line}: {where}{fault.detail} ({fault.code})")
            else:
                lines.append(f"{fault.pointer}: {fault.detail} ({fault.code})")
        return "The service rejected the request:\n" + "\n".join(lines or [str(error)])


def split_into_calls(records: Iterator[InputRecord], most: int, common: int) -> Iterator[tuple[int, list[InputRecord]]]:
    """Yield the prompts of each call and the index of its first; `most` prompts at most, and within the size limits."""
    group: list[InputRecord] = []
    first = size = 0
    for record in records:
        length = len(json.dumps(record.prompt))
        full = size + length > MAX_REQUEST_BYTES or size + length + common * (len(group) + 1) > MAX_EXPANDED_BYTES
        if group and (full or len(group) == most):
            yield first, group
            first, group, size = first + len(group), [], 0
        group.append(record)
        size += length
    if group:
        yield first, group


def idempotency_key_of(first: int, prompts: list[Any], options: dict[str, Any], nonce: str) -> str:
    """Derive a call's idempotency key from its prompts, their position and the options.

    A run that lost its journal, or whose file changed after these prompts, thus submits them only once as long as the
    service remembers the key.
    """
    content = json.dumps([1, nonce, first, prompts, options], sort_keys=True)
    return f"run-{hashlib.sha256(content.encode()).hexdigest()}"
