"""`python -m local up` runs the stack until it is told to stop; `python -m local demo` shows it at work."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from rich.console import Console

from local.aws import API_KEY, DeployError
from local.demo import DemoError, run_demo
from local.processes import ChildEndedError
from local.servers import PortTakenError
from local.settings import SettingError, Settings, read_settings
from local.stack import NotReadyError, running_stack

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_PARENT_POLL_SECONDS = 0.5

# Progress goes to standard error; standard output has the lines that another program may read.
console = Console(stderr=True, highlight=False)


def main() -> int:
    """Run the command and return the exit code: 0 done, 1 failed, 2 a wrong setting, 130 interrupted early."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("up", "demo"))
    command = parser.parse_args().command
    try:
        settings = read_settings()
        return asyncio.run(_until_signal(up(settings) if command == "up" else run_demo(settings, console)))
    except SettingError as error:
        console.print(f"Sluice can't start: {error}", style="red", markup=False, soft_wrap=True)
        return EXIT_USAGE
    except PortTakenError as error:
        console.print(f"Sluice can't start: {error}", style="red", markup=False, soft_wrap=True)
    except (ChildEndedError, DeployError, NotReadyError, DemoError) as error:
        notes = getattr(error, "__notes__", ())
        console.print("Sluice has stopped.", error, *notes, sep="\n", style="red", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_FAILED


async def up(settings: Settings) -> int:
    """Run the stack until a signal comes; raises ChildEndedError when a part of it dies."""
    ready = False
    try:
        async with running_stack(settings, _say) as stack:
            print(f"Sluice is ready at {stack.url}", flush=True)
            print(f"Try it:\n\n{curl_line(stack.url)}\n", flush=True)
            console.print(
                f"AWS is at {stack.aws.endpoint}, logs are in {stack.run}. Ctrl-C stops it all.", markup=False
            )
            ready = True
            await stack.wait_for_a_death()
    except asyncio.CancelledError:
        console.print("Stopped." if ready else "Interrupted; nothing was left behind.")
        return 0 if ready else EXIT_INTERRUPTED
    return EXIT_FAILED


def curl_line(url: str) -> str:
    """Give a line to paste into a shell."""
    body = '{"prompts": ["Tell me a joke about the economy.", "Tell me a joke about plants."]}'
    return f"curl -s {url}/tasks -H 'Authorization: Bearer {API_KEY}' -H 'Content-Type: application/json' -d '{body}'"


def _say(step: str) -> None:
    console.print(f"[green]✓[/green] {step}", soft_wrap=True)


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run the work and cancel it once at SIGINT, SIGTERM, SIGHUP, or when the make that started it is gone."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # A second signal must not interrupt the cleaning up.
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    # `kill -9` of make tells nobody; without make a parent may well go, as a shell does after `&`.
    watch = asyncio.ensure_future(_watch_parent(stop)) if "MAKELEVEL" in os.environ else None
    try:
        return await task
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    finally:
        if watch is not None:
            watch.cancel()


async def _watch_parent(stop: Callable[[], None]) -> None:
    parent = os.getppid()
    # No event comes when a parent dies.
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(_PARENT_POLL_SECONDS)
    stop()


if __name__ == "__main__":
    sys.exit(main())
