"""Define the arguments and outcomes of each transition of a record. Standard library only.

Every transition is one Lua script in common/store; the in-memory fake in tests/fakes.py keeps the same contract.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from common.domain.rate_limits import RefusalCause
from common.domain.spending import Charge
from common.domain.task import FailureCode, ProviderError, Task, TaskRef, Usage, WaitingOn


class CreateOutcome(StrEnum):
    """The outcomes of a create."""

    CREATED = "created"
    """Recorded now: send its messages."""
    UNSENT = "unsent"
    """Recorded earlier under the same Idempotency-Key, but its sending failed or died: send its messages again."""
    SENDING = "sending"
    """The same request is being accepted at this moment by another call."""
    ACCEPTED = "accepted"
    """The same request was answered with 202 before."""
    CONFLICT = "conflict"
    """The Idempotency-Key was used for another request."""


@dataclass(frozen=True, slots=True)
class Created:
    """Answer a create: the batch's times by the store's clock, the first call's times for a repeat.

    `sending_until_ms` is the end of the caller's sending lease, 0 where it has none. It is the fence of `accept` and
    `unsent`: another call that sends the batch later has another one.
    """

    outcome: CreateOutcome
    created_ms: int
    deadline_ms: int
    sending_until_ms: int = 0


class ClaimOutcome(StrEnum):
    """The outcomes of a claim: what a worker does with the message."""

    CLAIMED = "claimed"
    """The caller holds the lease: ask the model."""
    BUSY = "busy"
    """Another owner may be alive: put the message back for `wait_ms`, never acknowledge it."""
    UNACCEPTED = "unaccepted"
    """The call that brought the task is not accepted yet, for another `wait_ms` at most: claim again later."""
    NOT_ACCEPTED = "not_accepted"
    """That call never will be: acknowledge the message, for a repeat of the request sends it again."""
    ENDED = "ended"
    """The task is in a terminal state, or was put into one now: acknowledge the message."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Answer a claim. `code` is set when this claim ended the task: its deadline or its attempts had run out.

    `refusals` is how often the provider has refused the task for its rate, `own_refusals` how often of those it let
    others through.
    """

    outcome: ClaimOutcome
    attempt: int = 0
    now_ms: int = 0
    wait_ms: int = 0
    code: FailureCode | None = None
    refusals: int = 0
    own_refusals: int = 0


class ReleaseOutcome(StrEnum):
    """The outcomes of a release: whether the task is tried again."""

    RELEASED = "released"
    """Queued again: put the message back."""
    EXHAUSTED = "exhausted"
    """That was the last attempt; the task has failed: acknowledge the message."""
    LOST = "lost"
    """The caller no longer owned the task: put the message back, the next claim decides."""


class EndOutcome(StrEnum):
    """The outcomes of complete, fail and cancel."""

    ENDED = "ended"
    """This call, or a repeat of it by the same owner, wrote the terminal state."""
    ALREADY = "already"
    """Another terminal state was there first; it stays."""
    LOST = "lost"
    """The caller does not own the task, and somebody who may be alive does."""
    MISSING = "missing"
    """There is no such record (cancel only: the others rebuild it)."""


@dataclass(frozen=True, slots=True)
class ProgressNote:
    """Report how far an answer is: 0 to 99 percent, with the text so far; None where it has not grown.

    Each note renews the lease, for `lease_ms` from now on. One without text writes nothing else.
    """

    ref: TaskRef
    owner: str
    percent: int
    partial: str | None = field(repr=False)
    lease_ms: int


@dataclass(frozen=True, slots=True)
class KeptStep:
    """Hold a finished step of a workflow: what names it within its task, its answer, and what that has cost."""

    name: str
    text: str = field(repr=False)
    charge: Charge


@dataclass(frozen=True, slots=True)
class CallReport:
    """Report what the provider said of a call that brought no answer: what it billed, its error, and the text so far.

    It is shown, and in no sum.
    """

    usage: Usage | None = None
    cost_nanos: int | None = None
    error: ProviderError | None = None
    text: str | None = field(default=None, repr=False)


NO_REPORT: Final = CallReport()
"""The provider reported nothing."""


@dataclass(frozen=True, slots=True)
class Release:
    """Hold why a task returns to the queue and what it waits for there.

    A refund does not count the attempt. `refused_by` is the cause where the provider refused the call for its rate;
    such refusals are counted apart.
    """

    waiting_on: WaitingOn
    refund: bool = False
    code: FailureCode | None = None
    refused_by: RefusalCause | None = None
    report: CallReport = NO_REPORT


@dataclass(frozen=True, slots=True)
class Lease:
    """Ask for, or stand for, the right to work on a task.

    `owner` is random for each claim: it is the fence. Each progress note renews the lease, so one that has run out
    means that its worker is dead, or has not reached the store for `lease_ms`.
    """

    task: Task
    owner: str
    lease_ms: int
    max_attempts: int
