"""Provide a TCP proxy that sees every request and can inject network faults."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from tests.faults.framing import Framer
from tests.faults.moments import Deed, Moment

HOST = "127.0.0.1"
_CHUNK = 256 * 1024

type Sees = Callable[[bytes], bool]
type Act = Callable[["Exchange"], Awaitable[None]]


@dataclass(slots=True)
class Exchange:
    """One request on its way, or a pipeline of them; its bytes may be changed before it is forwarded.

    `seen` of its requests are those that the rule is for.
    """

    request: bytes
    _link: "Link"
    seen: int = 1

    async def forward(self) -> None:
        """Send it on."""
        await self._link.to_server(self.request)

    async def reply(self, is_whole: Callable[[bytes], bool] = bool) -> bytes:
        """Wait for the reply, or its first bytes, and keep it from the client: the server has done what was asked."""
        return await self._link.intercepted(is_whole)

    async def answer(self, reply: bytes) -> None:
        """Send a reply to the client, the server's or our own."""
        await self._link.to_client(reply)

    def reset(self) -> None:
        """End the connection with a reset."""
        self._link.reset()


class Delay:
    """Hold requests for longer than their clients live."""

    def __init__(self, nth: float) -> None:
        self._left = nth
        self._all_caught = asyncio.Event()
        self.is_over = asyncio.Event()

    def count(self, caught: int) -> None:
        """Note that so many more were caught."""
        self._left -= caught
        if not self._left:
            self._all_caught.set()

    async def caught(self) -> None:
        """Wait until all were caught."""
        await self._all_caught.wait()

    def release(self) -> None:
        """Let them go."""
        self.is_over.set()


@dataclass(slots=True)
class Rule:
    """Say what happens to the requests that it sees, up to so many."""

    sees: Sees
    act: Act
    times: float
    struck: int = 0

    def takes(self, requests: Sequence[bytes]) -> int:
        """Tell how many of these requests are for it, and count them."""
        left = self.times - self.struck
        taken = int(min(left, sum(self.sees(request) for request in requests))) if left else 0
        self.struck += taken
        return taken

    @property
    def has_struck(self) -> bool:
        """Tell whether it has met all the requests that it was for; one without an end, at least one."""
        return self.struck >= (1 if math.isinf(self.times) else self.times)


@dataclass(slots=True, eq=False)
class Link:
    """One client's connection, and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    _waiting: asyncio.Future[bytes] | None = None
    _is_whole: Callable[[bytes], bool] = bool
    _kept: bytes = b""

    async def to_server(self, data: bytes) -> None:
        self.server.write(data)
        await self.server.drain()

    async def to_client(self, data: bytes) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._kept += data
            if self._is_whole(self._kept):
                self._waiting.set_result(self._kept)
            return
        # What comes after the intercepted part of a reply is for nobody, as its client was reset.
        if not self.client.is_closing():
            self.client.write(data)
            await self.client.drain()

    async def intercepted(self, is_whole: Callable[[bytes], bool]) -> bytes:
        self._waiting, self._is_whole, self._kept = asyncio.get_running_loop().create_future(), is_whole, b""
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def reset(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


@dataclass(slots=True)
class Proxy:
    """Listen at one port for the whole of its life; `upstream`, `latency` (seconds) and the rest change at any time."""

    upstream: int
    framer: Framer
    latency: float = 0.0
    port: int = 0
    connections: int = 0
    _rules: list[Rule] = field(default_factory=list)
    _links: set[Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _listener: asyncio.Server | None = None
    _speaks: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Self]:
        """Serve for the length of the block."""
        self._speaks.set()
        await self.restore()
        try:
            yield self
        finally:
            self.refuse()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── What can go wrong with all of it ──────────────────────────────────────────────────────────────────────────────

    def refuse(self) -> None:
        """Be down: reset every connection and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.reset()

    async def restore(self) -> None:
        """Be up again, at the same port."""
        self._listener = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """Reset every connection; new ones are welcome."""
        for link in list(self._links):
            link.reset()

    def mute(self) -> None:
        """Swallow whatever comes, on old connections and on new ones, and never answer."""
        self._speaks.clear()

    def unmute(self) -> None:
        """Forget the connections that were muted, and serve new ones."""
        self.reset()
        self._speaks.set()

    def switch(self, upstream: int) -> None:
        """Lead to another server from now on."""
        self.upstream = upstream
        self.reset()

    # ── What can go wrong with one request ────────────────────────────────────────────────────────────────────────────

    def on(self, sees: Sees, act: Act, *, times: float = 1) -> None:
        """Do something with the requests that are seen."""
        self._rules.append(Rule(sees, act, times))

    def before(self, sees: Sees, nth: int, deed: Deed, *, again: int = 0) -> Moment:
        """Do a deed when n such requests have come and none of them was forwarded; they never will be.

        `again` repeats it so many times, each time for as many requests.
        """
        moment = Moment(nth, deed, again)

        async def act(exchange: Exchange) -> None:
            await moment.arrive(exchange.seen)
            exchange.reset()

        self.on(sees, act, times=nth * (1 + again))
        return moment

    def after(self, sees: Sees, nth: int, deed: Deed) -> Moment:
        """Do a deed when n such requests were applied and none of their clients knows; none will."""
        moment = Moment(nth, deed)

        async def act(exchange: Exchange) -> None:
            await exchange.forward()
            await exchange.reply()
            await moment.arrive(exchange.seen)
            exchange.reset()

        self.on(sees, act, times=nth)
        return moment

    def delay(self, sees: Sees, nth: float) -> "Delay":
        """Hold n such requests until they are let go, whatever has become of their clients."""
        delay = Delay(nth)

        async def act(exchange: Exchange) -> None:
            delay.count(exchange.seen)
            await delay.is_over.wait()
            await exchange.forward()

        self.on(sees, act, times=nth)
        return delay

    @property
    def has_struck(self) -> bool:
        """Tell whether everything that was to happen to a request has happened."""
        return all(rule.has_struck for rule in self._rules)

    # ── The way of the bytes ──────────────────────────────────────────────────────────────────────────────────────────

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, client)
        finally:
            self.connections -= 1
            self._tasks.discard(task)
            client.transport.abort()
            await _closed(client)

    async def _carry(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        from_server, server = await asyncio.open_connection(HOST, self.upstream)
        link = Link(client, server)
        self._links.add(link)
        back = asyncio.create_task(self._carry_back(from_server, link))
        try:
            framer = self.framer()
            while data := await reader.read(_CHUNK):
                # What comes in one piece is one pipeline: its client waits for all the replies.
                if requests := list(framer.feed(data)):
                    await self._carry_on(requests, link)
        finally:
            self._links.discard(link)
            server.transport.abort()
            back.cancel()
            await asyncio.gather(back, _closed(server), return_exceptions=True)

    async def _carry_on(self, requests: Sequence[bytes], link: Link) -> None:
        await self._speaks.wait()
        if self.latency:
            await asyncio.sleep(self.latency)
        for rule in self._rules:
            if seen := rule.takes(requests):
                await rule.act(Exchange(b"".join(requests), link, seen))
                return
        await Exchange(b"".join(requests), link).forward()

    async def _carry_back(self, from_server: asyncio.StreamReader, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await from_server.read(_CHUNK):
                await self._speaks.wait()
                await link.to_client(data)
        link.client.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def swallow_the_reply(exchange: Exchange) -> None:
    """Let the server do what it was asked, and reset the connection instead of the reply."""
    await exchange.forward()
    await exchange.reply()
    exchange.reset()


async def reset(exchange: Exchange) -> None:
    """Reset the connection instead of the request."""
    exchange.reset()


async def never_answer(exchange: Exchange) -> None:
    """Leave the client waiting, on a connection that stays open."""
    del exchange
    await asyncio.Event().wait()
