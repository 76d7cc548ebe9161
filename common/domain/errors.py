"""Draw the tree of Sluice's own exceptions, split by who must act.

SluiceError
├── CallerError              the caller: a 4xx with a stable code
│   ├── InvalidRequest       400, names the item and the rule
│   ├── InvalidItems         400 or 413, several of these at once
│   ├── RequestTooLarge      413
│   ├── NotFound             404
│   ├── Gone                 410
│   └── Conflict             409
├── Unavailable              nobody, for a while: 503, try again
│   ├── StoreUnavailable     Redis cannot be reached or refuses to write
│   │   └── EventUnsent      the end is recorded, and could not be announced
│   └── QueueUnavailable     SQS cannot be reached or refused a message
├── ModelError               the provider's answer to one call
│   ├── ModelBusy            429 about rate: wait, no attempt is spent
│   ├── ModelFailed          for a while: the next attempt may succeed
│   │   └── ModelCrashed     an exception that no rule knows came out of the call: a fault of ours
│   └── ModelRefused         for good: the task fails with its code
├── CallHeld                 us: our own limits do not let a call start yet
├── MessageError             us: a queue message that cannot be worked
│   ├── MessageUnreadable    not one of ours
│   └── MessageTooNew        written by a later version: leave it to that version's worker
└── SettingError             the operator: the function does not start; names the variable

No exception carries prompt or answer text, and nobody decides by an exception's message.
Standard library only.
"""

from collections.abc import Mapping, Sequence

from common.domain.rate_limits import RefusalCause
from common.domain.task import FailureCode, ProviderError, Usage, WaitingOn


class SluiceError(Exception):
    """Be the base of every error that Sluice raises on purpose."""


class CallerError(SluiceError):
    """Refuse a request of the caller: `code` is stable, `pointer` names the item (RFC 6901), `detail` the rule.

    `members` are further fields of the answer (RFC 9457, section 3.2).
    """

    status = 400
    code = "invalid_request"
    retry_after: int | None = None
    """Seconds after which the same request may succeed; None where it never will."""

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        code: str | None = None,
        members: Mapping[str, str] | None = None,
    ) -> None:
        """Take the rule that was broken, without the offending text."""
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.members = members or {}
        self.code = code or self.code


class InvalidRequest(CallerError):
    """Refuse a request that breaks a rule."""


class RequestTooLarge(CallerError):
    """Refuse a request over a limit of size or count."""

    status = 413
    code = "request_too_large"


class InvalidItems(CallerError):
    """Refuse a request of many items and say what is wrong with each of them, as far as was looked."""

    def __init__(self, errors: Sequence[CallerError]) -> None:
        """Take two errors or more; status and code are theirs where they agree."""
        first = errors[0]
        text = f"{len(errors)} items break a rule; the first is {first.pointer}: {first.detail}"
        codes = {error.code for error in errors}
        super().__init__(text, code=first.code if len(codes) == 1 else None)
        self.errors = tuple(errors)
        if len({error.status for error in errors}) == 1:
            self.status = first.status


class NotFound(CallerError):
    """Report that the caller has no object with this ID."""

    status = 404
    code = "not_found"


class Gone(CallerError):
    """Report that the object with this ID has expired."""

    status = 410
    code = "gone"


class Conflict(CallerError):
    """Refuse a request that contradicts an earlier one."""

    status = 409
    code = "conflict"


class Unavailable(SluiceError):
    """Report that a dependency is unavailable: `retry_after` is in seconds."""

    code = "unavailable"
    retry_after = 2


class StoreUnavailable(Unavailable):
    """Redis cannot be reached, or refuses to write; whether the last command was applied is not known."""

    code = "store_unavailable"


class EventUnsent(StoreUnavailable):
    """A task's end is recorded, but the event of it is not on its queue: the task's message has to come back."""


class QueueUnavailable(Unavailable):
    """SQS cannot be reached, or has refused messages to the end of our tries."""

    code = "queue_unavailable"


class ModelError(SluiceError):
    """Classify the provider's answer to one call by its code."""

    usage: Usage | None = None
    """What the provider said that it billed; None where it said nothing."""
    provider_error: ProviderError | None = None
    """What the provider said of the error; None where it said nothing."""

    def __init__(self, code: FailureCode, *, retry_after: float | None = None, kind: str | None = None) -> None:
        """Take the code, the wait in seconds that the provider named, and the type of the exception that it was."""
        super().__init__(code.value)
        self.code = code
        self.kind = kind
        self.retry_after = retry_after


class ModelBusy(ModelError):
    """The provider limits our rate: the call was not billed."""

    cause: RefusalCause | None = None
    """The cause of the refusal, if the caller of the model has found it out."""


class ModelFailed(ModelError):
    """The call failed in a way that another attempt may not."""


class ModelCrashed(ModelFailed):
    """The call ended with an exception that no rule knows: counted as a fault of ours, and tried again.

    `error` is that exception. Only its type and place are logged: its text may quote the prompt or the answer.
    """

    def __init__(self, error: Exception) -> None:
        """Take the exception; what provoked it is, as a rule, an answer that nobody foresaw."""
        super().__init__(FailureCode.UNREADABLE_ANSWER)
        self.error = error


class ModelRefused(ModelError):
    """The call failed in a way that every attempt will."""


class CallHeld(SluiceError):
    """Our own limits do not let a call start; the task goes back for so many seconds, and no attempt is spent."""

    def __init__(self, seconds: float, code: FailureCode | None, waiting_on: WaitingOn) -> None:
        """Take what the limits said."""
        super().__init__(waiting_on.value)
        self.seconds = seconds
        self.code = code
        self.waiting_on = waiting_on


class MessageError(SluiceError):
    """Report a queue message that cannot be processed."""


class MessageUnreadable(MessageError):
    """The body is not a task message."""


class MessageTooNew(MessageError):
    """The body is of a later version than this code knows."""


class SettingError(SluiceError):
    """Stop the start: an environment variable is missing or wrong."""

    def __init__(self, name: str, rule: str) -> None:
        """Take the variable's name and what it must be."""
        super().__init__(f"{name} {rule}")
        self.name = name
