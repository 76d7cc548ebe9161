"""Load the Lua scripts and run them by their digest, on a single server as on a cluster."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from redis.exceptions import NoScriptError

from common.store.client import Client, renew

type Argument = str | bytes | int

_FOLDER: Final = Path(__file__).parent / "lua"
LIBRARY: Final = ("clock", "fields", "task_record", "batch_event", "lifecycle")
"""Files of lib/ that are prepended to every script, in the order of their dependencies."""

WRAPPER: Final = "announce"
"""The file of lib/ that is appended to each script of transitions/ and wraps its answer."""


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """Name one run of a script: its keys share one slot."""

    script: str
    keys: Sequence[str]
    args: Sequence[Argument]
    is_joint: bool = False
    """The last key and the last argument are one task's, and the script takes them of many: calls that are else alike
    may be made as one."""

    @property
    def shared(self) -> tuple[str, tuple[str, ...], tuple[Argument, ...]]:
        """Return what calls that may be made as one have in common."""
        return self.script, tuple(self.keys[:-1]), tuple(self.args[:-1])

    def joined_by(self, other: "ScriptCall") -> "ScriptCall":
        """Make one call of two."""
        return replace(self, keys=[*self.keys, other.keys[-1]], args=[*self.args, other.args[-1]])


def read_sources() -> dict[str, str]:
    """Return the text of each Lua file by its path below lua/ without the suffix, such as `transitions/claim`."""
    return {
        path.relative_to(_FOLDER).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(_FOLDER.glob("*/*.lua"))
    }


def assemble(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each script by its name; the folder of a script decides how it is wrapped.

    A script of commands/ runs as it is. A script of transitions/ can end a task: its last key is the record of the
    batch, and the wrapper adds to its answer the event that is due.
    """
    library = "".join(sources[f"lib/{name}"] for name in LIBRARY)
    scripts = {}
    for path, text in sources.items():
        folder, name = path.split("/")
        if folder == "commands":
            scripts[name] = library + text
        elif folder == "transitions":
            scripts[name] = f"{library}local function transition()\n{text}\nend\n{sources[f'lib/{WRAPPER}']}"
    return scripts


class Scripts:
    """Run scripts by SHA-1, and by their text where the server has forgotten them: after a restart or a failover."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Take the sources as `read_sources` returns them; tests replace the clock."""
        self._text = assemble(sources)
        # Redis names a script by its SHA-1; nothing secret hangs on it.
        self._sha = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._text.items()
        }

    async def run(self, client: Client, call: ScriptCall) -> Any:  # noqa: ANN401  what a script answers is its own affair
        """Run one script and return what it answers."""
        await renew(client)
        try:
            return await client.execute_command(*self._by_sha(call))
        except NoScriptError:
            return await client.execute_command(*self._by_text(call))

    async def run_many(self, client: Client, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts in one round trip per node, not as a transaction, and return the answers in order."""
        answers = await self._answers(client, calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _answers(self, client: Client, calls: Sequence[ScriptCall]) -> list[Any]:
        """Do the same, and let an error count as an answer."""
        answers = await _run_pipeline(client, [self._by_sha(call) for call in calls])
        forgotten = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        repeated = await _run_pipeline(client, [self._by_text(calls[place]) for place in forgotten])
        for place, answer in zip(forgotten, repeated, strict=True):
            answers[place] = answer
        return answers

    def _by_sha(self, call: ScriptCall) -> list[Argument]:
        return ["EVALSHA", self._sha[call.script], len(call.keys), *call.keys, *call.args]

    def _by_text(self, call: ScriptCall) -> list[Argument]:
        return ["EVAL", self._text[call.script], len(call.keys), *call.keys, *call.args]


async def _run_pipeline(client: Client, commands: Sequence[list[Argument]]) -> list[Any]:
    """Send commands in one round trip per node and return what each answers, in order; an error counts as an answer."""
    if not commands:
        return []
    await renew(client)
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            # A cluster's pipeline refuses the method `evalsha` but routes the command by its keys.
            pipe.execute_command(*command)
        # `raise_on_error` would put the arguments, and so answer text, into the error's message.
        return list(await pipe.execute(raise_on_error=False))
