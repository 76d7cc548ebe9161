"""Provide a provider that sends exact bytes, including broken HTTP, and records its requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

type Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes one answer; the connection is closed behind it where it raises ConnectionError."""

SSE = "Content-Type: text/event-stream\r\n"
JSON = "Content-Type: application/json\r\n"


@dataclass(slots=True)
class Upstream:
    """Its port, and the heads of the requests that have come."""

    port: int = 0
    heads: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def headers(self, name: str) -> list[str]:
        """Return every line of every request that has this header."""
        lines = (line for head in self.heads for line in head.split("\r\n")[1:])
        return [line for line in lines if line.partition(":")[0].lower() == name.lower()]


@asynccontextmanager
async def upstream(*answers: Respond, tls: SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Serve on loopback: one answer a request, in their order, and the last one for all that come after."""
    served = Upstream()
    todo = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                served.heads.append(head.decode("latin1"))
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
                await (todo.pop(0) if len(todo) > 1 else todo[0])(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


def raw(data: bytes, *, closes: bool = False) -> Respond:
    """Send these bytes."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if closes:
            raise ConnectionError

    return respond


def streamed(*chunks: bytes, head: str = SSE, status: str = "200 OK") -> Respond:
    """Send chunks, each as one of HTTP's."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return raw(f"HTTP/1.1 {status}\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode("latin1") + body + b"0\r\n\r\n")


def whole(body: object, *, head: str = JSON, status: str = "200 OK") -> Respond:
    """Send a body at once, JSON if it is not bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return raw(f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode("latin1") + data)


def event(**fields: object) -> bytes:
    """Write one server-sent event."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **fields: object) -> bytes:
    """Write the event of one choice."""
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish_reason}])


TEXT = "Hello, world."
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
DONE = b"data: [DONE]\n\n"
GOOD = (
    delta(role="assistant", content=""),
    delta(content="Hello, "),
    delta(content="world."),
    delta("stop"),
    event(choices=[], usage=USAGE),
    DONE,
)
"""A streamed answer as OpenAI sends it."""

WHOLE = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": USAGE,
}
"""An answer at once."""
