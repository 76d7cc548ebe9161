"""Notice the end of the make that started us, when nobody tells us of it.

At a terminal Ctrl-C goes to make and to us. But a SIGINT, SIGHUP or SIGQUIT for make alone, as from a program that
started it, is not passed on: GNU make goes back to the system's own handling of the signal, waits for us, and waits for
ever. A SIGTERM it does pass on. And `kill -9` of make tells nobody.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.25
_NOT_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


async def make_is_over(stop: Callable[[], None]) -> None:
    """Call `stop` when the parent process is gone, or is a make that only waits for us."""
    parent = os.getppid()
    # No event comes of either.
    while os.getppid() == parent and not _only_waits(parent):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
    stop()


def _only_waits(process: int) -> bool:
    """Tell whether a make neither handles nor ignores one of the signals; a running one does, from its start."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # gone, or no Linux
        return False
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if status.get("Name") not in {"make", "gmake"}:
        return False
    minded = int(status["SigCgt"], 16) | int(status["SigIgn"], 16)
    return not all(minded >> (number - 1) & 1 for number in _NOT_PASSED_ON)
