"""The child processes of the stack; a guard ends each with this process."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.errors import ChildEndedError

GUARD = Path(__file__).with_name("guard.py")
# The guard gives its group three seconds.
STOP_SECONDS = 6.0
LOG_LINES = 15

# The variables that a child inherits. AWS and OpenAI settings are excluded on purpose, and so is everything that could
# hide a missing setting of a function.
INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
LOOPBACK_NAMES = "localhost,127.0.0.1,::1"


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return a child's environment: the inherited variables and `extra`."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), LOOPBACK_NAMES]))
    return {**inherited, "NO_PROXY": no_proxy, "no_proxy": no_proxy, **extra}


class Child:
    """A guarded process; its output goes to a log file."""

    def __init__(self, name: str, log: Path, guard: asyncio.subprocess.Process) -> None:
        """Take a started guard; use `Child.start` instead."""
        self.name = name
        self.log = log
        self._guard = guard

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str | Path], *, env: Mapping[str, str], log: Path, cwd: Path
    ) -> "Child":
        """Start the command in its own session, which ends on `stop` or with this process."""
        with log.open("ab") as output:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    # -I -S: the guard needs only the standard library and starts in 20 ms this way.
                    *(sys.executable, "-I", "-S", GUARD, *command),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
            )
            try:
                # On cancellation asyncio would kill the guard with SIGKILL and orphan its command.
                guard = await asyncio.shield(starting)
            except asyncio.CancelledError:
                await cls(name, log, await starting).stop()
                raise
        return cls(name, log, guard)

    async def ended(self) -> int:
        """Wait until the process has ended and return its exit code."""
        return await self._guard.wait()

    def exit_error(self, code: int) -> ChildEndedError:
        """Return the error for an unexpected end, with the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        message = f"{self.name} ended unexpectedly (exit code {code}). The end of its log:"
        return ChildEndedError("\n".join([message, *lines]))

    async def succeed(self) -> None:
        """Wait until a tool succeeds; raise ChildEndedError if it fails, and end it when cancelled."""
        try:
            code = await self._guard.wait()
        finally:
            await self.stop()
        if code:
            raise self.exit_error(code)

    async def stop(self) -> None:
        """End the process and all its descendants; does nothing if it has ended."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._guard.wait()
        except TimeoutError:
            self._kill_group()
            await self._guard.wait()
        # A killed guard leaves its group behind.
        self._kill_group()

    def _kill_group(self) -> None:
        # PermissionError: on macOS, if only a zombie is left of the group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._guard.pid, signal.SIGKILL)
