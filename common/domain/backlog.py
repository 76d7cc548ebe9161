"""Name the queues in which a tenant's tasks wait or run: its backlog. Standard library only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_QUEUED: Final = 10**9
"""The largest cap, in tasks; SQS itself has none."""


class BacklogQueue(StrEnum):
    """Name a queue of tasks."""

    TASKS = "tasks"
    """Prompts, for the worker."""
    WORKFLOWS = "workflows"
    """Workflows, for their own worker."""


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """Hold how deep a queue is and may be, in tasks, and the share of it that one tenant may have, in percent.

    At 50 percent a tenant may have as many tasks in the queue as it leaves free for others, at 80 percent four times as
    many, at 100 percent all of them. So alone it fills its share, and several together leave room for one more.
    """

    depth: int
    cap: int
    share: int
