"""Detect the end of the parent make process.

Ctrl-C at a terminal reaches make and this process. But GNU make does not forward a SIGINT, SIGHUP or SIGQUIT that it
receives alone, as from a program that started it: it restores the default handling of the signal and waits for this
process forever. It does forward SIGTERM. After `kill -9` of make no signal arrives at all.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.25
_NOT_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


async def watch_make(stop: Callable[[], None]) -> None:
    """Call `stop` when the parent process is gone, or is a make that only waits for this process."""
    parent = os.getppid()
    # Neither case causes an event.
    while os.getppid() == parent and not _only_waits(parent):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
    stop()


def _only_waits(process: int) -> bool:
    """Return whether a make has restored the default handling of one of the signals."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # gone, or not Linux
        return False
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if status.get("Name") not in {"make", "gmake"}:
        return False
    handled = int(status["SigCgt"], 16) | int(status["SigIgn"], 16)
    return not all(handled >> (number - 1) & 1 for number in _NOT_PASSED_ON)
