"""Encode and decode the queue's message: the header of one task, and its request.

Standard library only. Fields are only ever added; a change that an older worker would misread raises VERSION.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from common.domain import task_header
from common.domain.budgets import Budgets
from common.domain.errors import MessageTooNew, MessageUnreadable
from common.domain.request import Kind, Request
from common.domain.task import Task

VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """Carry a task and its request.

    `expected_tokens` is the caller's guess of the answer's length, for the progress bar; `budgets` are those of its
    tenant when it was sent.
    """

    task: Task
    request: Request
    expected_tokens: int | None = None
    budgets: Budgets | None = None

    def encode(self) -> str:
        """Write the message as JSON. ASCII only: SQS refuses some characters that JSON allows."""
        header: dict[str, Any] = task_header.encode(self.task)
        if self.expected_tokens is not None:
            header["expected_tokens"] = self.expected_tokens
        if self.budgets:
            header["budgets"] = self.budgets.write()
        return json.dumps(
            {"v": VERSION, "task": header, "request": {"kind": self.request.kind, "body": self.request.body}},
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, body: str) -> "TaskMessage":
        """Read a message.

        Raises:
            MessageTooNew: a later version wrote it.
            MessageUnreadable: it is not a task message.

        """
        try:
            raw = json.loads(body)
            version = raw["v"]
            if not isinstance(version, int) or version > VERSION:
                raise MessageTooNew
            request = _decode_request(raw["request"])
            header = raw["task"]
            task = task_header.decode(header)
            if task.kind is not request.kind:
                raise MessageUnreadable
            # What cannot be read is no message of ours, and never one without a budget.
            budgets = Budgets.read(header["budgets"]) if "budgets" in header else None
            return cls(task, request, header.get("expected_tokens"), budgets)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # `from None`: the JSON error's text quotes the body, and the body is the prompt.
            raise MessageUnreadable from None


def _decode_request(raw: dict[str, Any]) -> Request:
    kind, body = raw["kind"], raw["body"]
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise MessageUnreadable
    try:
        return Request(Kind(kind), body)
    except ValueError:
        raise MessageTooNew from None
