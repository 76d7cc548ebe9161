"""Run one command so that neither it nor anything it started outlives whoever asked for it.

Called as a script: ``python guard.py COMMAND [ARGUMENT ...]``, standard library only, as a leader of its own session.
The caller keeps the other end of the guard's standard input. When that pipe ends, because the caller closed it or was
killed by any means at all, the command and every process of its group are killed and reaped. A pipe works on every
system, and the kernel closes it even after `kill -9`; a parent-death signal is Linux's alone and skips grandchildren.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

# Long enough for a busy machine to schedule the dying, short enough for Ctrl-C.
_REAP_SECONDS = 3.0
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command of the arguments and return its exit code, or 128 + the signal that ended it."""
    # The group gets a SIGTERM below, and the guard is part of the group. Handlers, because SIG_IGN would be inherited.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if sys.platform == "linux":
        # Orphans of the command come to the guard and are reaped, where process 1 might leave them as zombies.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_at_end_of_input, args=(child.pid,), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    _end_group()
    return code if code >= 0 else 128 - code


def _kill_at_end_of_input(pid: int) -> None:
    while os.read(0, 1024):
        pass
    # Nothing here has anything to save, and a graceful end takes MiniStack two seconds.
    os.killpg(0, signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)


def _end_group() -> None:
    """End and reap what the command left behind."""
    os.killpg(0, signal.SIGTERM)
    end = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
