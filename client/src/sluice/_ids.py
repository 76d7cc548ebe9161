"""Normalise IDs: surrounding whitespace is removed, as of lines read from a file."""

from urllib.parse import quote

from sluice._models import Submission
from sluice._prompts import Items, require_collection

type TaskIds = str | Items[str] | Submission
"""One task ID, several, or those of a submission."""


def ids_in(tasks: TaskIds) -> list[str]:
    """Return the IDs as a list.

    Raises:
        TypeError: the argument is bytes or a mapping.
        ValueError: an ID is empty or contains a comma.

    """
    match tasks:
        case str():
            return [_id(tasks)]
        case Submission():
            return list(tasks.task_ids)
        case _:
            require_collection(tasks, "tasks", "wait([task_id])")
            return [_id(each) for each in tasks]


def segment(task_or_batch_id: str) -> str:
    """Return an ID as a URL path segment."""
    name = task_or_batch_id.strip()
    if not name.strip("."):
        raise ValueError(f"{task_or_batch_id!r} is not a valid ID")
    return quote(name, safe="")


def _id(text: str) -> str:
    name = text.strip()
    if not name or "," in name:
        raise ValueError(f"{text!r} is not a valid ID")
    return name
