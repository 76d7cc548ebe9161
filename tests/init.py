"""Run the init of a function in a separate process, with the settings of the template."""

import os
import subprocess
import sys
from typing import Final

from tests.infra.stack import ROOT, Stack, read_template

FUNCTIONS: Final = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))


def run_init(function: str, program: str, **variables: str) -> str:
    """Run a program that imports the handler of `sys.argv[1]`, and return what it prints; it must end with 0."""
    name = "".join(part.capitalize() for part in function.split("_")) + "Function"
    given = Stack.of(read_template(), CacheHost="redis.example").variables(name)
    # What stands for a resource of the stack is an address in the end.
    settings = {
        key: str(value) if isinstance(value, str | int | float) else "http://localhost/1"
        for key, value in given.items()
    }
    keys = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    path = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    started = subprocess.run(
        [sys.executable, "-c", program, function],
        cwd=ROOT,
        env={**path, **keys, **settings, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    return started.stdout
