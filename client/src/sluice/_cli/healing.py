"""Retry the failed prompts of a complete run, and put the new results in the place of the failed ones.

The service links a failed task to the task that retried it, so a repeated command finds earlier retries and pays for
nothing twice. The new results file is written beside the old one and replaces it after the journal names it.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluice._cli.input_file import InputFile, InputRecord
from sluice._cli.journal import Journal, RunHistory, healed_path
from sluice._cli.outcome_counts import OutcomeCounts
from sluice._cli.output import write_error
from sluice._cli.result_formats import ResultFormat, Write, csv_line
from sluice._client import Sluice
from sluice._exceptions import NothingToRetryError, UnreadableAnswerError
from sluice._models import Task, TaskStatus

MAX_RETRIES: Final = 1_000
"""Retries of one prompt that are followed: links without an end must not be followed without end."""


@dataclass(frozen=True, slots=True)
class HealingPlan:
    """The results file, its format and order, the source of its prompts, and the writer of a result."""

    output: Path
    shape: ResultFormat
    ordered: bool
    source: InputFile
    write: Write


class Healing:
    """Retry the failed tasks of a run once, and rewrite its results."""

    def __init__(self, sluice: Sluice, plan: HealingPlan, history: RunHistory) -> None:
        self._sluice = sluice
        self._plan = plan
        self._history = history
        self._latest: dict[int, Task] = {}
        """The last task of each prompt whose first task failed, by index."""
        self._pending: dict[str, int] = {}
        """The indexes of the tasks that are waited for, by task ID."""

    @property
    def under_way(self) -> dict[str, int]:
        """Return how many tasks of each batch are waited for."""
        return dict(Counter(task_id.rpartition("-")[0] for task_id in self._pending))

    @property
    def new_results(self) -> dict[int, Task]:
        """Return the ended tasks whose results the file does not have, by index."""
        written = self._history.healed
        return {
            index: task
            for index, task in self._latest.items()
            if task.has_ended and task.task_id != written.get(index, self._first_id(index))
        }

    def retry(self) -> Iterator[str]:
        """Retry the failed tasks, and yield a message for each batch.

        Raises:
            SluiceError: the service is unreachable or refused; repeat the command to continue.

        """
        self._follow(self._failed())
        failed = {index: task for index, task in self._latest.items() if task.status is TaskStatus.FAILED}
        for batch_id in dict.fromkeys(_batch_of(task) for task in failed.values()):
            try:
                submission = self._sluice.retry(batch_id)
            except NothingToRetryError as error:
                yield f"{batch_id}: {error.detail}"
                continue
            how = "an earlier retry" if submission.replayed else f"a retry of {len(submission.task_ids):,} tasks"
            yield f"{submission.batch_id} is {how} of {batch_id}"
        self._follow({index: task.task_id for index, task in failed.items()})
        self._pending = {task.task_id: index for index, task in self._latest.items() if not task.has_ended}

    def wait(self) -> None:
        """Wait until the retries have ended; raises SluiceError if the service is unreachable."""
        for task in self._sluice.as_completed(list(self._pending)):
            self._latest[self._pending.pop(task.task_id)] = task

    def rewrite(self, journal: Journal | None) -> OutcomeCounts:
        """Put the new results into the file, and return the new counts.

        Raises:
            ExitError: the file can't be written; the old one is unchanged.

        """
        counts, plan, tasks = OutcomeCounts.of(self._history.counts.as_json()), self._plan, self.new_results
        if not tasks or journal is None:
            return counts
        for task in tasks.values():
            counts.failed -= 1
            counts.add(task)
        path = healed_path(plan.output)
        try:
            mode = plan.output.stat().st_mode & 0o777
            with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.writelines(text.encode(errors="replace") for text in self._results(tasks))
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            journal.healed(size, counts, {**self._history.healed, **{i: task.task_id for i, task in tasks.items()}})
            path.replace(plan.output)
        except OSError as error:
            raise write_error(plan.output, error) from error
        return counts

    def _failed(self) -> dict[int, str]:
        """Return the ID of the first task of each prompt whose first task failed."""
        return {
            sent.first + int(task.task_id.rpartition("-")[2]): task.task_id
            for sent in self._history.sent.values()
            if sent.batch_id
            for task in self._sluice.batch_tasks(sent.batch_id, status="failed")
            if task.status is TaskStatus.FAILED
        }

    def _follow(self, ids: dict[int, str]) -> None:
        """Find the last of the retries of each task, by index."""
        for _ in range(MAX_RETRIES):
            if not ids:
                return
            found = dict(zip(ids, self._sluice.get_many(ids.values()), strict=True))
            self._latest |= found
            ids = {index: task.retried_as for index, task in found.items() if task.retried_as}
        raise UnreadableAnswerError("The retries of a task do not end. Check the URL.")

    def _first_id(self, index: int) -> str:
        sent = next(each for each in self._history.sent.values() if each.first <= index < each.first + each.count)
        return f"{sent.batch_id}-{index - sent.first}"

    def _results(self, tasks: Mapping[int, Task]) -> Iterator[str]:
        """Yield the text of every result, with those of `tasks` in their places."""
        plan = self._plan
        records = {
            index: found
            for index, found in enumerate(each for each in plan.source.read() if isinstance(each, InputRecord))
            if index in tasks
        }
        by_line = {record.line: index for index, record in records.items()}
        with plan.output.open(encoding="utf-8", newline="" if plan.shape is ResultFormat.CSV else "\n") as file:
            results = _csv_rows(file) if plan.shape is ResultFormat.CSV else file
            if plan.shape is ResultFormat.CSV:
                yield next(results)  # the header row
            for place, text in enumerate(results):
                index = place if plan.ordered else by_line.get(json.loads(text)["line"], -1)
                yield plan.write(records[index], tasks[index]) if index in records else text


def _batch_of(task: Task) -> str:
    return task.batch_id or task.task_id.rpartition("-")[0]


def _csv_rows(file: Iterator[str]) -> Iterator[str]:
    # What was neutralised when it was written stays so.
    return (csv_line(cells, raw=True) for cells in csv.reader(file, strict=True))
