"""The commands that show, cancel and retry tasks."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import batched
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from sluice._cli.connection import Target
from sluice._cli.exit_codes import ExitCode
from sluice._cli.outcome_counts import OutcomeCounts
from sluice._cli.progress_bar import RunProgressBar
from sluice._cli.result_formats import as_result
from sluice._cli.sanitizer import for_terminal, write_text
from sluice._client import Sluice
from sluice._events import Delta, Ended, Reset, StatusChanged
from sluice._exceptions import AlreadyEndedError, NothingToRetryError
from sluice._fields import Json
from sluice._models import Batch, Task, TaskStatus
from sluice._polling import PendingProgress

PATIENCE_SECONDS: Final = 20.0
"""How long an interactive command retries a request."""
POLL_SECONDS: Final = 2.0
"""How long the service may hold a request of `watch`."""
IDS_PER_POLL: Final = 200


def show(sluice: Sluice, target: Target, console: Console, *, as_json: bool) -> ExitCode:
    """Print the status of a task or of batches once."""
    if target.task_id:
        task = sluice.get(target.task_id)
        _print_json(task.raw) if as_json else _show_task(console, task)
        return _exit_of(task)
    batches = [sluice.get_batch(batch_id) for batch_id in target.batch_ids]
    if as_json:
        totals = _totals(batches) | {"not_sent": target.unsent}
        _print_json(totals | {"batches": [_batch_json(batch) for batch in batches]})
    else:
        _show_batches(console, batches, target.unsent)
    return ExitCode.FAILED if _unsuccessful(batches) else ExitCode.COMPLETED


def watch(sluice: Sluice, target: Target, console: Console, *, as_json: bool) -> ExitCode:
    """Show live progress until all tasks have ended, then the totals."""
    if target.task_id:
        progress = RunProgressBar(Console(stderr=True, quiet=as_json), target.task_id, 1, OutcomeCounts())
        with progress:
            while not (task := sluice.get(target.task_id, wait_seconds=POLL_SECONDS)).has_ended:
                processing = task.status is TaskStatus.PROCESSING
                progress.update(PendingProgress(int(processing), int(not processing), task.progress))
            progress.counts.add(task)
            progress.update(PendingProgress(0, 0, 0))
        return show(sluice, target, console if as_json else Console(), as_json=as_json)
    ended: dict[str, Batch] = {}
    latest = {batch_id: sluice.get_batch(batch_id) for batch_id in target.batch_ids}
    progress = RunProgressBar(
        Console(stderr=True, quiet=as_json), _title(target), sum(each.size for each in latest.values()), OutcomeCounts()
    )
    with progress:
        while True:
            ended.update((batch_id, batch) for batch_id, batch in latest.items() if batch.has_ended)
            _update_progress(progress, [*latest.values()])
            left = [batch_id for batch_id in target.batch_ids if batch_id not in ended]
            if not left:
                break
            for place, batch_id in enumerate(left):
                latest[batch_id] = sluice.get_batch(batch_id, wait_seconds=0 if place else POLL_SECONDS)
    if as_json:
        _print_json(_totals([*latest.values()]))
    return ExitCode.FAILED if _unsuccessful(latest.values()) else ExitCode.COMPLETED


def results(sluice: Sluice, target: Target, *, raw: bool = False) -> ExitCode:
    """Write the ended tasks as JSON Lines, in the order of the prompts."""
    counts = OutcomeCounts()
    size = 0
    for ids in batched(_ids(sluice, target), IDS_PER_POLL):
        for task in sluice.get_many(ids):
            size += 1
            if task.has_ended:
                counts.add(task)
                _print_json(as_result(None, task), raw=raw)
    return ExitCode.COMPLETED if counts.completed == size else ExitCode.FAILED


def cancel(sluice: Sluice, target: Target, console: Console, *, as_json: bool) -> ExitCode:
    """Cancel the tasks that have not ended."""
    if target.task_id:
        try:
            task = sluice.cancel(target.task_id)
        except AlreadyEndedError:
            task = sluice.get(target.task_id)
            write_text(f"{target.task_id} was not cancelled: it had ended, as {task.status}", file=sys.stderr)
        _print_json(task.raw) if as_json else _show_task(console, task)
        return ExitCode.COMPLETED if task.status is TaskStatus.CANCELLED else ExitCode.FAILED
    batches = [sluice.cancel_batch(batch_id) for batch_id in target.batch_ids]
    if as_json:
        _print_json(_totals(batches) | {"batches": [_batch_json(batch) for batch in batches]})
    else:
        _show_batches(console, batches)
    if not any(batch.counts.get("cancelled") for batch in batches) and all(batch.has_ended for batch in batches):
        write_text("Nothing was cancelled: every task had ended", file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.COMPLETED


def retry(sluice: Sluice, target: Target, *, as_json: bool) -> ExitCode:
    """Retry the failed tasks and print each new batch ID at once, so that a later refusal loses none.

    The results file is not changed: `run --retry-failed` does that.
    """
    batch_ids = target.batch_ids or ((target.task_id or "").rpartition("-")[0],)
    made: list[dict[str, Any]] = []
    try:
        for batch_id in batch_ids:
            try:
                submission = sluice.retry(batch_id)
            except NothingToRetryError as error:
                write_text(f"{batch_id}: {error.detail}", file=sys.stderr)
                continue
            size = len(submission.task_ids)
            made.append(
                {"batch_id": submission.batch_id, "of": batch_id, "tasks": size, "replayed": submission.replayed}
            )
            if not as_json and submission.replayed:
                write_text(f"{submission.batch_id}  an earlier retry of {batch_id}; no task has failed since")
            elif not as_json:
                write_text(f"{submission.batch_id}  {size:,} tasks of {batch_id} submitted again")
    finally:
        if as_json:
            _print_json({"batches": made})
    return ExitCode.COMPLETED if made else ExitCode.REFUSED


def stream(sluice: Sluice, task_id: str, after: str | None, *, as_json: bool, raw: bool = False) -> ExitCode:
    """Write a task's text while it is generated; with `as_json`, each event as a line."""
    code = ExitCode.FAILED
    for event in sluice.stream(task_id, after=after):
        if as_json:
            _print_json(_event(event), raw=raw)
        elif isinstance(event, Delta):
            write_text(event.text, end="", raw=raw)
        elif isinstance(event, Reset):
            print("\n[restarted]", flush=True)
        if isinstance(event, Ended):
            code = _exit_of(event.task)
            if not as_json:
                print(flush=True)
                if event.task.error:
                    error = event.task.error
                    write_text(f"{event.task.status}: {error.code}: {error.detail}", file=sys.stderr)
    return code


def _ids(sluice: Sluice, target: Target) -> Iterator[str]:
    if target.task_id:
        yield target.task_id
    for batch_id in target.batch_ids:
        yield from sluice.get_batch(batch_id).task_ids


def _event(event: StatusChanged | Delta | Reset | Ended) -> dict[str, Any]:
    match event:
        case StatusChanged():
            return {"event": "status", "id": event.id, "status": event.status, "progress": event.progress}
        case Delta():
            return {"event": "delta", "id": event.id, "text": event.text}
        case Reset():
            return {"event": "reset", "id": event.id}
        case Ended():
            return {"event": "ended", "id": event.id, "task": event.task.raw}


def _exit_of(task: Task) -> ExitCode:
    return ExitCode.FAILED if task.has_ended and task.status is not TaskStatus.COMPLETED else ExitCode.COMPLETED


def _unsuccessful(batches: Iterable[Batch]) -> int:
    bad = ("failed", "cancelled", "expired", "not_found")
    return sum(batch.counts.get(name, 0) for batch in batches for name in bad)


def _totals(batches: list[Batch]) -> dict[str, Any]:
    names = ("queued", "processing", "completed", "failed", "cancelled", "expired", "not_found")
    counts = {name: sum(batch.counts.get(name, 0) for batch in batches) for name in names}
    ended = _counts_of(batches)
    return {
        "size": sum(batch.size for batch in batches),
        "counts": counts,
        "tokens": ended.tokens,
        "usd": str(ended.usd),
    }


def _counts_of(batches: list[Batch]) -> OutcomeCounts:
    counts = OutcomeCounts()
    for batch in batches:
        counts.completed += batch.counts.get("completed", 0)
        counts.failed += batch.counts.get("failed", 0)
        counts.cancelled += batch.counts.get("cancelled", 0)
        counts.gone += batch.counts.get("expired", 0) + batch.counts.get("not_found", 0)
        counts.tokens += batch.usage.total_tokens if batch.usage else 0
        counts.usd += batch.cost_usd or 0
    return counts


def _update_progress(progress: RunProgressBar, batches: list[Batch]) -> None:
    progress.counts = _counts_of(batches)
    processing = sum(batch.counts.get("processing", 0) for batch in batches)
    progress.update(PendingProgress(processing, sum(batch.counts.get("queued", 0) for batch in batches), 0))


def _title(target: Target) -> str:
    return target.batch_ids[0] if len(target.batch_ids) == 1 else f"{len(target.batch_ids)} batches"


def _batch_json(batch: Batch) -> dict[str, Any]:
    return {name: value for name, value in batch.raw.items() if name not in {"tasks", "next"}}


def _show_task(console: Console, task: Task) -> None:
    table = _grid()
    for name, value in task.raw.items():
        if name == "attempts":
            for number, attempt in enumerate(value, 1):
                parts = (json.dumps(part) if isinstance(part, dict) else str(part) for part in attempt.values())
                table.add_row(f"attempt {number}", for_terminal(" ".join(parts)))
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            table.add_row(for_terminal(name), for_terminal(shown))
    console.print(table, markup=False, highlight=False)


def _show_batches(console: Console, batches: list[Batch], unsent: int = 0) -> None:
    totals = _totals(batches)
    table = _grid()
    shown = (f"{batch.batch_id}  {batch.status}  {batch.progress} %" for batch in batches)
    table.add_row("batches", for_terminal("\n".join(shown)))
    for name, count in totals["counts"].items():
        if count or name in {"queued", "processing", "completed", "failed"}:
            table.add_row(name, f"{count:,}")
    if unsent:
        table.add_row("not sent", f"{unsent:,}  (run the same `sluice run` command to send them)")
    table.add_row("total", f"{totals['size'] + unsent:,}")
    table.add_row("tokens", f"{totals['tokens']:,}")
    table.add_row("cost", f"${totals['usd']}")
    console.print(table, markup=False, highlight=False)


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _print_json(value: Json, *, raw: bool = False) -> None:
    write_text(json.dumps(value, ensure_ascii=False), raw=raw)
