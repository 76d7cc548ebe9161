"""Test that tests can reach only this machine."""

import asyncio
import socket

import pytest

DOCUMENTATION_ADDRESS = ("192.0.2.1", 80)  # RFC 5737: nobody's


def test_a_test_cannot_connect_beyond_loopback() -> None:
    with pytest.raises(Warning, match=r"host \"192\.0\.2\.1\""):
        socket.create_connection(DOCUMENTATION_ADDRESS, timeout=1)


async def test_a_coroutine_cannot_connect_beyond_loopback() -> None:
    with pytest.raises(Warning, match=r"host \"192\.0\.2\.1\""):
        await asyncio.open_connection(*DOCUMENTATION_ADDRESS)


async def test_a_coroutine_can_connect_to_loopback() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
