"""The command `sluice`. It needs click and rich, which the extra `cli` installs."""

import sys


def main() -> None:
    """Run the command, or exit with an install hint if click or rich is missing."""
    try:
        from sluice._cli.commands import run_command  # noqa: PLC0415 - the library has neither click nor rich
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.exit("The command needs click and rich: pip install 'sluice-llm[cli]'")
    sys.exit(run_command())
