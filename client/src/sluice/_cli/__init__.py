"""The command `sluice`. It stands on the library, and on click and rich, which the extra `cli` brings."""

import sys


def main() -> None:
    """Run the command; without its libraries, say how to get them."""
    try:
        from sluice._cli.commands import run_command  # noqa: PLC0415 - the library has neither click nor rich
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.exit("The command needs click and rich: pip install 'sluice[cli]'")
    sys.exit(run_command())
