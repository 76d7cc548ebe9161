"""Ctrl-C and SIGTERM: an exception wherever they come, but not amid what has to be whole."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sluice._cli.exit_codes import Terminated


class SignalHandler:
    """Who hears the signals of this process."""

    def __init__(self) -> None:
        self._is_busy = False
        self._came: type[KeyboardInterrupt] | None = None

    def install(self) -> None:
        """Hear them from now on; what the shell has us ignore, such as Ctrl-C in the background, stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let them wait for the end of the block; the second one does not, for the block may hang."""
        self._is_busy, self._came = True, None
        try:
            yield
        finally:
            self._is_busy = False
        if self._came:
            raise self._came

    def _hear(self, number: int, _: Any) -> None:  # noqa: ANN401 - the frame, which is of no use
        error = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if not self._is_busy or self._came:
            raise error
        self._came = error


interrupts = SignalHandler()
"""Those of this process; signals are its own, so there is one."""
