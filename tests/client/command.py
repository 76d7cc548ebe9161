"""Run the command as a user does: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.client.service import KEY

SLUICE = (sys.executable, "-c", "from sluice._cli import main; main()")
SECONDS = 60


def environment(url: str, key: str = KEY, **more: str) -> dict[str, str]:
    """Make the environment of a user who set these two."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    return {**inherited, "SLUICE_URL": url, "SLUICE_API_KEY": key, "COLUMNS": "200", **more}


def sluice(
    url: str, *words: str | Path, key: str = KEY, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; no key, no traceback, whatever it was."""
    done = subprocess.run(
        [*SLUICE, *map(str, words)],
        env=environment(url, key, **more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert key not in said
    return done


@contextmanager
def started(url: str, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command that hears Ctrl-C; it is killed at the end of the block, if it has not ended."""
    process = subprocess.Popen(
        [*SLUICE, *map(str, words)],
        env=environment(url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its background jobs ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
