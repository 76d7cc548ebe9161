"""Encode and decode the queue's message: one task, its prompt included.

Standard library only. Fields are only ever added; a change that an older worker would misread raises VERSION.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from common.domain import task_header
from common.domain.budgets import Budgets
from common.domain.errors import MessageTooNew, MessageUnreadable
from common.domain.task import Task

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """Carry a task and what to ask the model for it.

    `messages` and `params` are as the chat completions API takes them; a workflow's task has an `input` instead, as the
    workflow takes it. `expected_tokens` is the caller's guess of the answer's length, for the progress bar; `budgets`
    are those of its tenant when it was sent. Prompt text stays out of the repr, and so out of logs.
    """

    task: Task
    messages: list[dict[str, Any]] = field(repr=False)
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    expected_tokens: int | None = None
    budgets: Budgets | None = None
    input: dict[str, Any] | None = field(default=None, repr=False)

    def encode(self) -> str:
        """Write the message as JSON. ASCII only: SQS refuses some characters that JSON allows."""
        return json.dumps(
            {
                "v": VERSION,
                **task_header.encode(self.task),
                "messages": self.messages,
                "params": self.params,
                "expected_tokens": self.expected_tokens,
                **({"budgets": self.budgets.write()} if self.budgets else {}),
                **({} if self.input is None else {"input": self.input}),
            },
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
            task = task_header.decode(raw)
            messages, given = raw["messages"], raw.get("input")
            if not isinstance(messages, list) or not isinstance(given, dict | None):
                raise MessageUnreadable
            if not messages and given is None:
                raise MessageUnreadable
            # What cannot be read is no message of ours, and never one without a budget.
            budgets = Budgets.read(raw["budgets"]) if "budgets" in raw else None
            return cls(task, messages, dict(raw.get("params") or {}), raw.get("expected_tokens"), budgets, given)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # `from None`: the JSON error's text quotes the body, and the body is the prompt.
            raise MessageUnreadable from None
