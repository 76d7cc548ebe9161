"""Give tasks that the queue has given up their final state.

A message comes here after it was received too often, and its task may have ended long ago. Only what is recorded is
taken off the dead-letter queue. The rest stays, and that queue's visibility timeout is the pause before the next try:

- a worker may still hold the lease, or the store does not answer: a later try will do;
- nobody can read the message: it stays as evidence and is counted each time it comes round, for an alarm, until an
  operator removes it, a newer version reads it or the queue drops it. Its task, if it has one, fails at its deadline.
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
    """Fail tasks for good; the store does."""

    async def dead_letter(self, task: Task) -> EndOutcome:
        """Fail a task whose message was given up, unless its lease is live; may raise StoreUnavailable."""

    async def save_request(self, ref: TaskRef, request: str) -> None:
        """Leave its request with a task that has failed; may raise StoreUnavailable."""


class Backlog(Protocol):
    """Count each tenant's tasks in the workers' queues; may raise StoreUnavailable."""

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        """Give back the places of tasks whose messages have left their queue."""


class DeadLetterOutcome(StrEnum):
    """Name what can become of a dead letter."""

    FAILED = "failed"
    """The task is recorded as failed."""
    ALREADY = "already"
    """It had ended before."""
    BUSY = "busy"
    """A worker may be at it."""
    UNAVAILABLE = "unavailable"
    """The store did not answer."""
    UNREADABLE = "unreadable"
    """It is no task message, or one of a later version."""

    @property
    def is_done(self) -> bool:
        """Tell whether the message may be deleted."""
        return self in {DeadLetterOutcome.FAILED, DeadLetterOutcome.ALREADY}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Say what became of one message."""

    message_id: str
    kind: DeadLetterOutcome
    task_id: str | None = None


async def process_dead_letters(
    records: Sequence[Mapping[str, Any]], store: DeadLetterStore, backlog: Backlog
) -> list[DeadLetter]:
    """See to every entry of an SQS event's `Records`; never raises for one of them."""
    return await asyncio.gather(*(_read(record["messageId"], record["body"], store, backlog) for record in records))


async def _read(message_id: str, body: str, store: DeadLetterStore, backlog: Backlog) -> DeadLetter:
    try:
        task = TaskMessage.decode(body).task
    except MessageError:
        return DeadLetter(message_id, DeadLetterOutcome.UNREADABLE)
    # It has left the workers' queue, whatever becomes of it here; a place that is not given back expires.
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
