"""Connect to the service and resolve the targets of commands."""

import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.journal import SUFFIX, journal_path, read_history
from sluice._client import Sluice
from sluice._retries import OnRetry

PATIENCE_SECONDS: Final = 300.0
"""How long a run retries requests: it survives a deployment or a few minutes without network."""
CHECK_PATIENCE_SECONDS: Final = 5.0
"""The same for the first request, so that a wrong URL is reported soon."""
UNKNOWN_TASK_ID: Final = f"{'0' * 36}-0"
"""An ID that no task has."""
_TASK: Final = re.compile(r".+-[0-9]+")


@dataclass(frozen=True, slots=True)
class Connection:
    """URL and API key from the command line; where they are None, the client reads the environment."""

    url: str | None
    api_key: str | None = field(repr=False)

    def client(self, *, patience: float = PATIENCE_SECONDS, on_retry: OnRetry | None = None) -> Sluice:
        """Return a client; raises NotConfiguredError."""
        return Sluice(self.url, self.api_key, patience=patience, on_retry=on_retry)

    def require(self) -> None:
        """Check that the service is reachable and accepts the key; raises SluiceError."""
        with self.client(patience=CHECK_PATIENCE_SECONDS) as sluice:
            sluice.get_many(UNKNOWN_TASK_ID)


def read_api_key(path: str | None) -> str | None:
    """Read the API key from a file."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ExitError(f"Could not read the API key from {path}", ExitCode.USAGE) from None


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works on: one task, or batches."""

    task_id: str | None = None
    batch_ids: tuple[str, ...] = ()
    unsent: int = 0
    """Prompts of a run that no batch has, because the run ended early."""


def parse_target(name: str) -> Target:
    """Parse a target: the ID of a task or a batch, or a results file written by `run`.

    Raises:
        ExitError: the file is not a results file, or there is none of this name.

    """
    path = Path(name)
    if not path.exists() and (os.sep in name or "." in name):  # no ID has a dot
        close = get_close_matches(path.name, _results_files(path.parent), 1)
        hint = f"; did you mean {path.with_name(close[0])}?" if close else ""
        raise ExitError(f"There is no file {name}{hint}", ExitCode.USAGE)
    if path.is_file():
        journal = journal_path(path)
        history = read_history(journal, path.stat().st_size) if journal.exists() else None
        if history is None:
            raise ExitError(f"{name} is not a results file of `sluice run`", ExitCode.USAGE)
        batches = tuple(sent.batch_id for _, sent in sorted(history.sent.items()) if sent.batch_id)
        if not batches:
            raise ExitError(f"No prompt of {name} has been sent yet", ExitCode.USAGE)
        sent = sum(sent.count for sent in history.sent.values() if sent.batch_id)
        return Target(batch_ids=batches, unsent=max(0, history.header.get("total", sent) - sent))
    if path.exists():
        raise ExitError(f"{name} is a directory, not a results file of `sluice run`", ExitCode.USAGE)
    return Target(task_id=name) if _TASK.fullmatch(name) else Target(batch_ids=(name,))


def _results_files(folder: Path) -> list[str]:
    return [path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")] if folder.is_dir() else []
