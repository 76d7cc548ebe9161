"""How the command ends: its exit codes, and the errors that lead to them."""

from enum import IntEnum
from typing import Final

from sluice._exceptions import (
    AccessError,
    BudgetExhaustedError,
    LimitedError,
    NotConfiguredError,
    ProblemError,
    ServiceError,
    ServiceUnreachableError,
    SluiceError,
    UnreadableAnswerError,
)


class ExitCode(IntEnum):
    """What the exit code says."""

    COMPLETED = 0
    """Every task completed."""
    FAILED = 1
    """The command did its work, and some tasks failed, were cancelled or have expired."""
    USAGE = 2
    """The command line or the file is wrong; nothing was sent."""
    UNREACHABLE = 3
    """The service does not answer, or not well. The same command goes on where it was."""
    REFUSED = 4
    """The service refuses: the key, the budget, a limit, or what was sent."""
    UNWRITABLE = 5
    """A file could not be read or written. The same command goes on where it was."""
    INTERRUPTED = 130
    """Ctrl-C. The same command goes on where it was."""
    BROKEN_PIPE = 141
    """Nobody reads our output any more."""
    TERMINATED = 143
    """SIGTERM. The same command goes on where it was."""


class ExitError(Exception):
    """End the command with a text for people and an exit code."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


_ADVICE: Final = {
    AccessError: "Is SLUICE_API_KEY (or --api-key-file) the key of this service?",
    BudgetExhaustedError: "The same command goes on when there is budget again.",
    ServiceUnreachableError: "Is SLUICE_URL (or --url) right? The same command goes on where it was.",
    UnreadableAnswerError: "Is SLUICE_URL (or --url) the address of a Sluice?",
}


def exit_error_of(error: SluiceError) -> ExitError:
    """Tell people what an error of the library means for them."""
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
