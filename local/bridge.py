"""Let containers reach the stack: run `python -m local.bridge` beside `make local`, for `sam local`.

The stack listens only on loopback, and a container has its own loopback; `sam local --docker-network host` does not
change that (aws-sam-cli#4236). So this forwards connections from the gateway address of Docker's bridge, with the same
port numbers, and writes the functions' environments with that address. Docker Desktop forwards by itself; there, only
the environments are written.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from local.settings import read_settings

DOCKER_DESKTOP = "host.docker.internal"
_LOOPBACK_PORT = re.compile(r"//(?:localhost|127\.0\.0\.1):([0-9]+)")
_CHUNK_BYTES = 65_536


@asynccontextmanager
async def bridged(state: Path) -> AsyncIterator[Path]:
    """Forward the stack's ports within the block; yield the file with the environments for containers."""
    variables: dict[str, dict[str, str]] = json.loads((state / "env.json").read_text())
    host = DOCKER_DESKTOP if sys.platform == "darwin" else await asyncio.to_thread(_gateway)
    ports = {int(port) for values in variables.values() for port in _LOOPBACK_PORT.findall(" ".join(values.values()))}
    ports |= {int(values["REDIS_PORT"]) for values in variables.values() if "REDIS_PORT" in values}
    seen = {
        name: {key: _seen_from_outside(key, text, host) for key, text in values.items()}
        for name, values in variables.items()
    }
    file = state / "sam-env.json"
    async with AsyncExitStack() as ends:
        if host != DOCKER_DESKTOP:
            for port in sorted(ports):
                await ends.enter_async_context(_forwarded(host, port))
        file.write_text(json.dumps(seen, indent=2) + "\n")
        ends.callback(file.unlink, missing_ok=True)
        yield file


def _seen_from_outside(name: str, text: str, host: str) -> str:
    if name == "REDIS_HOST":
        return host
    return _LOOPBACK_PORT.sub(rf"//{host}:\1", text)


def _gateway() -> str:
    # Docker's default network. If the engine does not name the gateway, it is the first address.
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)[0]
    return found.get("Gateway") or str(next(ipaddress.ip_network(found["Subnet"]).hosts()))


@asynccontextmanager
async def _forwarded(host: str, port: int) -> AsyncIterator[None]:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    server = await asyncio.start_server(connect, host, port)
    try:
        yield
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # closing the other side below tells it about the end
    finally:
        writer.close()


async def _main() -> None:
    argparse.ArgumentParser(prog="python -m local.bridge", description=(__doc__ or "").partition("\n")[0]).parse_args()
    async with bridged(read_settings().state) as file:
        print(f"Forwarding until Ctrl-C. Run: sam local … --env-vars {file}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
