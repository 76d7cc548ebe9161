"""Exit codes, and how errors map to them."""

from enum import IntEnum
from typing import Final

from sluice._exceptions import (
    AccessError,
    BudgetExhaustedError,
    LimitedError,
    NotConfiguredError,
    NotFoundError,
    ProblemError,
    ServiceError,
    ServiceUnreachableError,
    SluiceError,
    UnreadableAnswerError,
)


class ExitCode(IntEnum):
    """The exit codes of the command."""

    COMPLETED = 0
    """Every task completed."""
    FAILED = 1
    """The command finished; some tasks failed, were cancelled or expired."""
    USAGE = 2
    """The command line or the input file is invalid; nothing was sent."""
    UNREACHABLE = 3
    """The service is unreachable or keeps failing. Run the same command again to resume."""
    REFUSED = 4
    """The service rejected the key, the budget or the request."""
    UNWRITABLE = 5
    """A file could not be read or written. Run the same command again to resume."""
    INTERRUPTED = 130
    """Ctrl-C. Run the same command again to resume."""
    BROKEN_PIPE = 141
    """The reader of standard output closed the pipe."""
    TERMINATED = 143
    """SIGTERM. Run the same command again to resume."""


class ExitError(Exception):
    """End the command with a message and an exit code."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


_ADVICE: Final = {
    AccessError: "Check SLUICE_API_KEY or --api-key-file.",
    BudgetExhaustedError: "Run the same command again when there is budget; it resumes.",
    NotFoundError: "Check the ID. For a results file, give its name as in `sluice run -o NAME`.",
    ServiceUnreachableError: "Check SLUICE_URL or --url. Run the same command again to resume.",
    UnreadableAnswerError: "Check that SLUICE_URL or --url is the URL of a Sluice service.",
}


def to_exit_error(error: SluiceError) -> ExitError:
    """Convert a library error to a message with advice and an exit code."""
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    return ExitError(f"{error}\n{advice}".rstrip(), _code_of(error))


def _code_of(error: SluiceError) -> ExitCode:
    match error:
        case NotConfiguredError():
            return ExitCode.USAGE
        case BudgetExhaustedError():
            return ExitCode.REFUSED
        case ServiceUnreachableError() | UnreadableAnswerError() | ServiceError() | LimitedError():
            return ExitCode.UNREACHABLE
        case ProblemError():
            return ExitCode.REFUSED
        case _:
            return ExitCode.FAILED
