"""Format results as JSON Lines, OpenAI Batch API output, CSV or plain text."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sluice._cli.input_file import InputRecord
from sluice._cli.sanitizer import for_spreadsheet
from sluice._models import Task, TaskStatus

OMITTED_FIELDS: Final = frozenset({"batch_id", "progress", "partial_result", "waiting_on", "created_at", "deadline_at"})
"""Task fields that are meaningless after the task has ended."""
LEADING_FIELDS: Final = ("custom_id", "task_id", "status", "result", "error")
"""The fields that come first in a JSON result."""
CSV_COLUMNS: Final = ("task_id", "status", "result", "error")
_OK: Final = 200


class ResultFormat(StrEnum):
    """The format of a results file."""

    JSONL = "jsonl"
    OPENAI = "openai"
    CSV = "csv"
    TEXT = "text"


type Write = Callable[[InputRecord, Task], str]


def detect_shape(path: str) -> ResultFormat:
    """Detect the format by the file's extension."""
    return {".csv": ResultFormat.CSV, ".txt": ResultFormat.TEXT}.get(Path(path).suffix.lower(), ResultFormat.JSONL)


def header_of(shape: ResultFormat, columns: Sequence[str]) -> str:
    """Return the text before the first result; `columns` are those of the source, if any."""
    return csv_line(_columns(columns)) if shape is ResultFormat.CSV else ""


def make_writer(shape: ResultFormat, columns: Sequence[str], *, raw: bool = False) -> Write:
    """Return a function that formats one result, including its line break; `raw` leaves formulas in CSV cells."""
    match shape:
        case ResultFormat.JSONL:
            return lambda record, task: _json_line(as_result(record, task))
        case ResultFormat.OPENAI:
            return lambda record, task: _json_line(as_openai(record, task))
        case ResultFormat.TEXT:
            # All of Unicode's line breaks, of which a bare CR is one.
            return lambda _, task: " ".join((task.result or task.refusal or "").splitlines()).strip() + "\n"
        case ResultFormat.CSV:
            names = _columns(columns)
            return lambda record, task: csv_line([_cells(record, task).get(name, "") for name in names], raw=raw)


def as_result(record: InputRecord | None, task: Task) -> dict[str, Any]:
    """Convert a task to its API representation with its line number, without fields that are meaningless by now."""
    shown = {name: value for name, value in task.raw.items() if name not in OMITTED_FIELDS}
    first: dict[str, Any] = {name: shown.pop(name) for name in LEADING_FIELDS if name in shown}
    return {**({"line": record.line} if record else {}), **first, **shown}


def as_openai(record: InputRecord, task: Task) -> dict[str, Any]:
    """Convert a task to a line of the OpenAI Batch API's output file."""
    line: dict[str, Any] = {
        "id": f"batch_req_{task.task_id}",
        "custom_id": record.custom_id or f"line-{record.line}",
        "response": None,
        "error": None,
    }
    if task.status is not TaskStatus.COMPLETED:
        code = task.error.code if task.error else f"batch_{task.status}"
        detail = task.error.detail if task.error else f"The task is {task.status}."
        return line | {"error": {"code": code, "message": detail}}
    message: dict[str, Any] = {"role": "assistant", "content": task.result, "refusal": task.refusal}
    if task.refusal is not None:
        message["content"] = task.result or None
    if task.tool_calls:
        message |= {"content": task.result or None, "tool_calls": list(task.tool_calls)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": task.finish_reason}
    body = {
        "id": f"chatcmpl-{task.task_id}",
        "object": "chat.completion",
        "created": int(task.ended_at.timestamp()) if task.ended_at else 0,
        "model": task.model,
        "choices": [choice],
        "usage": task.raw.get("usage"),
    }
    return line | {"response": {"status_code": _OK, "request_id": task.task_id, "body": body}}


def _columns(of_source: Sequence[str]) -> list[str]:
    own = list(of_source) or ["line", "custom_id"]
    # If the source has a column of the same name, our column gets the prefix sluice_.
    return own + [f"sluice_{name}" if name in own else name for name in CSV_COLUMNS]


def _cells(record: InputRecord, task: Task) -> Mapping[str, object]:
    error = task.error.code if task.error else ""
    cells: dict[str, object] = {"line": record.line, "custom_id": record.custom_id or ""}
    ours = {"task_id": task.task_id, "status": task.status, "result": task.result or task.refusal or "", "error": error}
    row = record.row or {}
    named = {f"sluice_{name}" if name in row else name: value for name, value in ours.items()}
    return {**cells, **named, **row}


def csv_line(cells: Sequence[object], *, raw: bool = False) -> str:
    """Return a CSV row with its line break; without `raw` no cell is a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells if raw else map(for_spreadsheet, cells))
    return text.getvalue()


def _json_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
