"""Which service a command speaks to, and what a person calls the things there."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.journal import journal_of, read_history
from sluice._client import Sluice
from sluice._retries import OnRetry

PATIENCE_SECONDS: Final = 300.0
"""For how long a run asks again: a deployment or a lost network of minutes is no reason to end."""
FIRST_SECONDS: Final = 5.0
"""The same for the first question: a wrong address should be told at once."""
NOBODY: Final = f"{'0' * 36}-0"
"""An id that no task has."""
_TASK: Final = re.compile(r".+-[0-9]+")


@dataclass(frozen=True, slots=True)
class Connection:
    """The address and the key as the command line gives them; the environment has them where it does not."""

    url: str | None
    api_key: str | None = field(repr=False)

    def client(self, *, patience: float = PATIENCE_SECONDS, on_retry: OnRetry | None = None) -> Sluice:
        """Make a client; raises NotConfiguredError."""
        return Sluice(self.url, self.api_key, patience=patience, on_retry=on_retry)

    def require(self) -> None:
        """Ask for nothing, to see whether the service is there and knows the key; raises SluiceError."""
        with self.client(patience=FIRST_SECONDS) as sluice:
            sluice.get_many(NOBODY)


def key_in(path: str | None) -> str | None:
    """Read a key from a file."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ExitError(f"Could not read a key from {path}", ExitCode.USAGE) from None


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about: one task, or batches."""

    task_id: str | None = None
    batch_ids: tuple[str, ...] = ()


def target_of(name: str) -> Target:
    """Tell what a name means: a task's id, a batch's, or a file of results that `run` writes.

    Raises:
        Stop: it is a file, and not one of ours.

    """
    path = Path(name)
    if path.exists() or os.sep in name:
        journal = journal_of(path)
        history = read_history(journal, path.stat().st_size) if path.exists() and journal.exists() else None
        if history is None:
            raise ExitError(f"{name} is no file of results that `sluice run` writes", ExitCode.USAGE)
        batches = tuple(sent.batch_id for _, sent in sorted(history.sent.items()) if sent.batch_id)
        if not batches:
            raise ExitError(f"Nothing of {name} was sent so far", ExitCode.USAGE)
        return Target(batch_ids=batches)
    return Target(task_id=name) if _TASK.fullmatch(name) else Target(batch_ids=(name,))
