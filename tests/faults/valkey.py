"""Provide a Valkey that can restart empty, restore a copy, and fail over to a replica."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis

from common.store.scripts import Scripts, read_sources
from local.processes import Child
from local.servers import on_free_port, start_valkey
from tests.faults.proxy import HOST, Sees

SCRIPTS = Scripts(read_sources())


def runs(script: str) -> Sees:
    """See the requests that run one of the store's scripts, by its digest."""
    digest = SCRIPTS._sha[script].encode()
    return lambda request: digest in request


@dataclass(slots=True)
class Valkey:
    """One server; what it holds is in memory, and in `dump.rdb` of its folder once it was saved."""

    folder: Path
    port: int
    _child: Child

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator[Self]:
        """Run a server for the length of the block."""
        folder.mkdir()  # noqa: ASYNC240  # at once, as in every test
        child, port = await on_free_port(lambda port: start_valkey(folder, port))
        server = cls(folder, port, child)
        await server.load_scripts()
        try:
            yield server
        finally:
            await server._child.stop()

    async def ask(self, *command: str | int) -> Any:  # noqa: ANN401  # what a server answers is its own affair
        """Send one command, past every proxy."""
        async with Redis(host=HOST, port=self.port) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's

    async def load_scripts(self) -> None:
        """Have the scripts known, so that the first run of each is by its digest, and can be seen as such."""
        for text in SCRIPTS._text.values():
            await self.ask("SCRIPT", "LOAD", text)

    async def save(self) -> None:
        """Write the copy that a rollback restores."""
        await self.ask("SAVE")
        shutil.copy(self.folder / "dump.rdb", self.folder / "copy.rdb")

    async def restart_empty(self) -> None:
        """Crash, and come back with nothing."""
        await self._crash()
        await self._start()

    async def roll_back(self) -> None:
        """Crash, and come back with what was saved."""
        await self._crash()
        shutil.copy(self.folder / "copy.rdb", self.folder / "dump.rdb")
        await self._start()

    async def _crash(self) -> None:
        await self._child.stop()
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    async def _start(self) -> None:
        self._child = await start_valkey(self.folder, self.port)

    async def copy_once(self, primary: "Valkey") -> None:
        """Hold what another server holds now, and hear nothing of it any more: a replica that lags."""
        await self.ask("REPLICAOF", HOST, primary.port)
        while (await self.ask("INFO", "replication"))["master_link_status"] != "up":
            pass
        await self.ask("REPLICAOF", "NO", "ONE")

    # ── It refuses to write ───────────────────────────────────────────────────────────────────────────────────────────

    async def fill(self) -> None:
        """Be out of memory, under noeviction."""
        await self.ask("CONFIG", "SET", "maxmemory", 1)

    async def make_room(self) -> None:
        """Have memory again."""
        await self.ask("CONFIG", "SET", "maxmemory", 0)

    async def demote(self) -> None:
        """Be the replica of a server that is gone."""
        await self.ask("REPLICAOF", HOST, 1)

    async def promote(self) -> None:
        """Be a primary again."""
        await self.ask("REPLICAOF", "NO", "ONE")

    async def has_refused(self, kind: str) -> bool:
        """Tell whether it has answered with an error of this kind."""
        return f"errorstat_{kind}" in await self.ask("INFO", "errorstats")
