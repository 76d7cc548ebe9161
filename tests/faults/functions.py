"""Start, invoke, freeze and kill Lambda functions: real handlers in separate processes."""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from local.processes import child_environment
from local.settings import ROOT

_LINE_LIMIT = 32 * 1024 * 1024
_START_SECONDS = 60
_NAMES = itertools.count()


class Died(Exception):
    """The process ended before it answered."""


class InvocationFailed(Exception):
    """The handler raised; the name of the exception's class."""


@dataclass(slots=True)
class Environment:
    """One Lambda environment: warm, until it is killed."""

    function: str
    pid: int
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    ended: bool = False
    usage: dict[str, int] = field(default_factory=dict)
    """Resident bytes and open files, after the last invocation."""

    async def invoke(
        self,
        event: Mapping[str, Any],
        timeout: float,  # noqa: ASYNC109  # Lambda's
        *,
        kills: bool = True,
    ) -> dict[str, Any]:
        """Invoke, and kill at the timeout as Lambda does.

        Raises:
            Died: it was killed, at the timeout or by somebody else.
            InvocationFailed: the handler raised.

        """
        trace = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=1"
        request = {
            "event": event,
            "request_id": secrets.token_hex(16),
            "trace_id": trace,
            "ends_at": time.time() + timeout,
        }
        line = b""
        try:
            async with asyncio.timeout(timeout if kills else None):
                self._writer.write(json.dumps(request).encode() + b"\n")
                await self._writer.drain()
                line = await self._reader.readline()
        except TimeoutError:
            self.kill()
        except OSError:
            pass
        if not line:
            self.ended = True
            raise Died
        answer = json.loads(line)
        self.usage = answer["usage"]
        if "error" in answer:
            raise InvocationFailed(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def kill(self) -> None:
        """End the process at once, as kill -9 does."""
        self._signal(signal.SIGKILL)
        self.ended = True

    def freeze(self) -> None:
        """Stop it amid whatever it does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def close(self) -> None:
        """Kill it and forget it."""
        self.kill()
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(slots=True)
class Lambda:
    """Start environments; what they write goes to files of one folder."""

    folder: Path
    _process: asyncio.subprocess.Process

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator[Self]:
        """Run the process that makes them."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.runtime"),
            cwd=ROOT,
            env=child_environment({}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"ready\n"
            yield cls(folder, process)
        finally:
            process.stdin.close()
            await process.wait()

    async def start(
        self, function: str, variables: Mapping[str, str], log: Path, *, newer: bool = False
    ) -> Environment:
        """Cold-start an environment; `newer` starts the next version of the code.

        Raises:
            Died: the start failed; its log says why.

        """
        came: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        came = asyncio.get_running_loop().create_future()
        path = self.folder / f"{next(_NAMES)}.sock"
        server = await asyncio.start_unix_server(
            lambda reader, writer: came.set_result((reader, writer)), path, limit=_LINE_LIMIT
        )
        order = {
            "function": function,
            "env": child_environment(variables),
            "socket": str(path),
            "log": str(log),
            "newer": newer,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_START_SECONDS):
            reader, writer = await came
            server.close()
            line = await reader.readline()
        if not line:
            writer.transport.abort()
            raise Died(f"at its start; {log} says why")
        return Environment(function, json.loads(line)["pid"], reader, writer)
