"""`python -m local up` runs the stack until it is stopped; `python -m local demo` runs a demo."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Coroutine

from rich.console import Console

from local.errors import SettingError, StackError
from local.make import watch_make
from local.settings import Settings, read_settings

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main() -> int:
    """Run the command and return the exit code: 0 success, 1 failure, 2 invalid setting, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("up", "demo"))
    command = parser.parse_args().command
    # `up` writes its progress to standard error; standard output has the lines that programs wait for.
    console = Console(stderr=command == "up", highlight=False)
    try:
        settings = read_settings()
        return asyncio.run(_until_signal(_work(command, settings, console)))
    except StackError as error:
        message = "\n".join([str(error), *getattr(error, "__notes__", ())])
        console.print(f"Sluice has stopped: {message}", style="red", markup=False, soft_wrap=True)
        return EXIT_USAGE if isinstance(error, SettingError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


async def _work(command: str, settings: Settings, console: Console) -> int:
    # Imported here, so that an invalid setting is reported at once and not after a second of imports.
    if command == "up":
        from local.up import run_up  # noqa: PLC0415

        await run_up(settings, console)
        return 0
    from local.demo import run_demo  # noqa: PLC0415

    return 0 if await run_demo(settings, console) else EXIT_FAILED


async def _until_signal(work: Coroutine[None, None, int]) -> int:
    """Run the work and cancel it once on SIGINT, SIGTERM or SIGHUP, or when the parent make process ends."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # A second signal must not interrupt the cleanup.
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    # Without make the parent may end early, as a shell does after `&`.
    watch = asyncio.ensure_future(watch_make(stop)) if "MAKELEVEL" in os.environ else None
    try:
        return await task
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    finally:
        if watch is not None:
            watch.cancel()


if __name__ == "__main__":
    sys.exit(main())
