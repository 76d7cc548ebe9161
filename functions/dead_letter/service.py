"""Fail the tasks of dead letters.

A message arrives here after too many receives; its task may have ended before. A message is deleted only if its task
has a recorded final state. All others stay in the dead-letter queue and are tried again after its visibility timeout:

- A worker may still have the lease, or the store does not answer: a later try succeeds.
- The message cannot be decoded: it stays as evidence, and each receive is counted for an alarm, until an operator
  removes it, a newer version decodes it or it expires. Its task, if it has one, fails at its deadline.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from common.domain.backlog import BacklogQueue
from common.domain.errors import MessageError, StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.task import Task, TaskRef
from common.domain.transitions import EndOutcome
from common.kinds.registry import registration_of


class DeadLetterStore(Protocol):
    """Store that fails tasks."""

    async def dead_letter(self, task: Task) -> EndOutcome:
        """Fail a task unless it has a live lease; may raise StoreUnavailable."""

    async def save_request(self, ref: TaskRef, request: str) -> None:
        """Store the request of a failed task for retries; may raise StoreUnavailable."""


class Backlog(Protocol):
    """Counter of each tenant's tasks in the workers' queues; may raise StoreUnavailable."""

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        """Remove tasks whose messages have left their queue."""


class DeadLetterOutcome(StrEnum):
    """The possible outcomes of a dead letter."""

    FAILED = "failed"
    """The task is recorded as failed."""
    ALREADY = "already"
    """The task had ended before."""
    BUSY = "busy"
    """A worker may still have the lease of the task."""
    UNAVAILABLE = "unavailable"
    """The store did not answer."""
    UNREADABLE = "unreadable"
    """The message is not a task message, or is of a later version."""

    @property
    def is_done(self) -> bool:
        """Return whether the message may be deleted."""
        return self in {DeadLetterOutcome.FAILED, DeadLetterOutcome.ALREADY}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The outcome of one message."""

    message_id: str
    kind: DeadLetterOutcome
    task_id: str | None = None


async def process_dead_letters(
    records: Sequence[Mapping[str, Any]], store: DeadLetterStore, backlog: Backlog
) -> list[DeadLetter]:
    """Process every entry of an SQS event's `Records`; never raises for one of them."""
    return await asyncio.gather(*(_process(record["messageId"], record["body"], store, backlog) for record in records))


async def _process(message_id: str, body: str, store: DeadLetterStore, backlog: Backlog) -> DeadLetter:
    try:
        task = TaskMessage.decode(body).task
    except MessageError:
        return DeadLetter(message_id, DeadLetterOutcome.UNREADABLE)
    # The message has left the workers' queue in every case. A place that is not removed expires.
    with suppress(StoreUnavailable):
        await backlog.remove(registration_of(task.kind).queue, [task.ref])
    try:
        outcome = await store.dead_letter(task)
        if outcome is not EndOutcome.LOST:
            await store.save_request(task.ref, body)
    except StoreUnavailable:
        return DeadLetter(message_id, DeadLetterOutcome.UNAVAILABLE, task.ref.task_id)
    match outcome:
        case EndOutcome.ENDED:
            kind = DeadLetterOutcome.FAILED
        case EndOutcome.ALREADY:
            kind = DeadLetterOutcome.ALREADY
        case _:
            kind = DeadLetterOutcome.BUSY
    return DeadLetter(message_id, kind, task.ref.task_id)
