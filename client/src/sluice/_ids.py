"""Ids as callers give them, made such as the service names them in its answers: lines of a file have their ends."""

from collections.abc import Iterable
from urllib.parse import quote

from sluice._models import Submission

type TaskIds = str | Iterable[str] | Submission
"""A task's id, several, or all those of a submission."""


def ids_in(tasks: TaskIds) -> list[str]:
    """List the ids.

    Raises:
        ValueError: one of them is empty, or has a comma, which would make several of it.

    """
    match tasks:
        case str():
            return [_id(tasks)]
        case Submission():
            return list(tasks.task_ids)
        case _:
            return [_id(each) for each in tasks]


def segment(task_or_batch_id: str) -> str:
    """Write an id as a part of a path."""
    name = task_or_batch_id.strip()
    if not name.strip("."):
        raise ValueError(f"{task_or_batch_id!r} is no id")
    return quote(name, safe="")


def _id(text: str) -> str:
    name = text.strip()
    if not name or "," in name:
        raise ValueError(f"{text!r} is no id")
    return name
