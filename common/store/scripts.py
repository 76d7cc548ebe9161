"""Load the Lua scripts and run them by their digest, on a single server as on a cluster."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import batched
from pathlib import Path
from typing import Any, Final

from redis.exceptions import NoScriptError

from common.store.client import Client, renew

type Argument = str | bytes | int
type Arguments = Mapping[str, Argument | None]
"""Arguments by name; one that is None is omitted."""

_FOLDER: Final = Path(__file__).parent / "lua"
LIBRARY: Final = ("clock", "fields", "task_record", "batch_event", "lifecycle")
"""Files of lib/ that are prepended to every script, in the order of their dependencies."""

WRAPPER: Final = "announce"
"""The file of lib/ that is appended to each script of transitions/ and wraps its answer."""


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """Name one run of a script. Its keys share one slot; its texts may hold lone surrogates and NUL."""

    script: str
    keys: Sequence[str]
    args: Arguments = field(default_factory=dict)
    items: Sequence[Arguments] = ()
    """The arguments of each item of a list, such as the tasks of a batch."""
    is_joint: bool = False
    """The last key and the items belong to one task, and the script takes many: calls that are otherwise equal may be
    joined."""

    @property
    def shared(self) -> tuple[object, ...]:
        """Return what calls that may be joined have in common."""
        return self.script, tuple(self.keys[:-1]), tuple(self.args.items())

    def joined_by(self, other: "ScriptCall") -> "ScriptCall":
        """Make one call of two."""
        return replace(self, keys=[*self.keys, other.keys[-1]], items=[*self.items, *other.items])

    def arguments(self) -> list[Argument]:
        """Return ARGV: name/value pairs, and for each item the pair `item` and its index, followed by its own pairs."""
        flat: list[Argument] = []
        _append(flat, self.args)
        for index, item in enumerate(self.items):
            flat += (_ITEM, index)
            _append(flat, item)
        return flat


_ITEM: Final = "item"


def _append(flat: list[Argument], arguments: Arguments) -> None:
    for name, value in arguments.items():
        if value is not None:
            # redis-py encodes text strictly and raises an error for lone surrogates.
            flat += (name, value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def named(answer: Sequence[Any]) -> dict[str, Any]:
    """Read the name/value pairs that a script answers."""
    return {name.decode(): value for name, value in batched(answer, 2, strict=True)}


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
        return ["EVALSHA", self._sha[call.script], len(call.keys), *call.keys, *call.arguments()]

    def _by_text(self, call: ScriptCall) -> list[Argument]:
        return ["EVAL", self._text[call.script], len(call.keys), *call.keys, *call.arguments()]


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
