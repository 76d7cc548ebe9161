"""Raise Ctrl-C and SIGTERM as exceptions, but not inside critical sections."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sluice._cli.exit_codes import Terminated


class SignalHandler:
    """The signal handler of the process."""

    def __init__(self) -> None:
        self._is_busy = False
        self._deferred: type[KeyboardInterrupt] | None = None

    def install(self) -> None:
        """Install the handlers; a signal that the parent shell has set to ignore stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer a signal to the end of the block; a second one is raised at once, because the block may hang."""
        self._is_busy, self._deferred = True, None
        try:
            yield
        finally:
            self._is_busy = False
        if self._deferred:
            raise self._deferred

    def _handle(self, number: int, _: Any) -> None:  # noqa: ANN401 - the unused frame
        error = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if not self._is_busy or self._deferred:
            raise error
        self._deferred = error


interrupts = SignalHandler()
"""The single handler: signals belong to the process."""
