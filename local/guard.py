"""Run a command so that no process of it outlives the caller.

Called as a script: ``python guard.py COMMAND [ARGUMENT ...]``, standard library only, as a session leader. The caller
holds the other end of the guard's standard input. When that pipe closes, because the caller closed it or was killed,
the guard kills and reaps the command and every process of its group. A pipe works on every system, and the kernel
closes it even after `kill -9`; a parent-death signal works only on Linux and skips grandchildren.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

# Long enough for a busy machine to end the processes, short enough for Ctrl-C.
_REAP_SECONDS = 3.0
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command in the arguments; return its exit code, or 128 + the signal that ended it."""
    # The guard is in the group that gets a SIGTERM below. Handlers, because the command would inherit SIG_IGN.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if sys.platform == "linux":
        # The guard adopts and reaps orphans of the command, which process 1 might leave as zombies.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_at_end_of_input, args=(child.pid,), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    _end_group()
    return code if code >= 0 else 128 - code


def _kill_at_end_of_input(pid: int) -> None:
    while os.read(0, 1024):
        pass
    # No process has anything to save, and a graceful shutdown of MiniStack takes two seconds.
    os.killpg(0, signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)


def _end_group() -> None:
    """End and reap the remaining processes of the group."""
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
