"""Describe one delivery of a queue message, and how it ended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from common.domain.task import FailureCode, Usage, WaitingOn

SUSPECT_RECEIVES: Final = 3
"""From this receive on a message may be what kills its workers: it runs alone, after the others."""

RESEND_RECEIVES: Final = SUSPECT_RECEIVES - 1
"""From this receive on, a message that only waited is sent again as a new one: waiting does not make it suspect."""

_TRACE_ID: Final = re.compile(r"(?<=Root=)1-[0-9a-f]{8}-[0-9a-f]{24}(?![^;])")

SUSPECT_MARK: Final = "Suspect"
"""The message attribute of a copy whose original was suspect: waiting makes no message innocent."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """Hold a message as Lambda hands it over; the body carries the prompt and stays out of the repr."""

    message_id: str
    receipt_handle: str
    receives: int
    body: str = field(repr=False)
    is_marked: bool = False
    trace: str | None = None
    """X-Ray's header of the request that brought the task: `Root=…;Parent=…;Sampled=1`."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "ReceivedMessage":
        """Read one entry of an SQS event's `Records`."""
        receives = int(record["attributes"]["ApproximateReceiveCount"])
        is_marked = SUSPECT_MARK in record.get("messageAttributes", {})
        trace = record["attributes"].get("AWSTraceHeader")
        return cls(record["messageId"], record["receiptHandle"], receives, record["body"], is_marked, trace)

    @property
    def is_suspect(self) -> bool:
        """Return whether it, or the message that it is a copy of, has been received suspiciously often."""
        return self.is_marked or self.receives >= SUSPECT_RECEIVES

    @property
    def trace_id(self) -> str | None:
        """Return the trace of the request that brought the task."""
        found = _TRACE_ID.search(self.trace or "")
        return found[0] if found else None


class OutcomeKind(StrEnum):
    """Name how a delivery can end."""

    COMPLETED = "completed"
    """The answer is recorded."""
    FAILED = "failed"
    """The task is recorded as failed, for good."""
    DUPLICATE = "duplicate"
    """The task had ended before, with an answer or without."""

    RETRIED = "retried"
    """The call failed; another attempt may not."""
    RATE_LIMITED = "rate_limited"
    """The provider wants us to wait; the attempt is refunded."""
    STOPPED = "stopped"
    """The invocation's time ran out while the answer was under way."""
    HELD = "held"
    """A shared limit, a pause or the tenant's cap did not let it start; no attempt was made."""
    UNSTARTED = "unstarted"
    """No slot was free in time, or no call would have ended in time; nothing was claimed."""
    UNACCEPTED = "unaccepted"
    """The call that brought it is not accepted yet; no attempt was made."""
    DISCARDED = "discarded"
    """That call never will be: a repeat of its request sends the message again."""
    BUSY = "busy"
    """Another worker may be at it."""
    LOST = "lost"
    """The lease is another's by now, or the task was cancelled."""
    UNRECORDED = "unrecorded"
    """The store did not take the outcome; an answer in hand is lost, and the next delivery asks again."""
    UNAVAILABLE = "unavailable"
    """The store, or the key's keeper, did not answer: the model was not called."""
    UNREADABLE = "unreadable"
    """The body is not a task message."""
    TOO_NEW = "too_new"
    """A later version of Sluice wrote it."""
    CRASHED = "crashed"
    """An exception that no rule knows, outside of the model call."""


DEFERRALS: Final = frozenset(
    {OutcomeKind.HELD, OutcomeKind.UNSTARTED, OutcomeKind.RATE_LIMITED, OutcomeKind.UNACCEPTED}
)
"""Endings that say nothing against the message: its receive count should not grow by them."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """Describe how a delivery ended: `visible_in` seconds it comes back, or None when it is done with.

    `attempt` is set once a lease was held, `call_seconds` once the model was called. `waiting_on` is what the record of
    a task that was not claimed has no record of it yet. `error` is an exception that no rule knows: a fault of ours.
    """

    kind: OutcomeKind
    retry_in_seconds: float | None = None
    task_id: str | None = None
    attempt: int | None = None
    code: FailureCode | None = None
    call_seconds: float | None = None
    usage: Usage | None = None
    cost_nanos: int | None = None
    waiting_on: WaitingOn | None = None
    error: Exception | None = None
