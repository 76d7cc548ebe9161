"""Run the stack until it is stopped."""

import asyncio

from rich.console import Console

from local.aws import API_KEY
from local.settings import Settings
from local.stack import running_stack


async def run_up(settings: Settings, console: Console) -> None:
    """Run the stack until it is cancelled; raises StackError if it can't start or a process of it ends."""
    async with running_stack(settings, lambda step: console.print(f"[green]✓[/green] {step}", soft_wrap=True)) as stack:
        # Standard output has the lines that other programs may wait for.
        print(f"Sluice is ready at {stack.url}", flush=True)
        print(f"Try it at {stack.url}/console with the key {API_KEY}, or:\n\n{curl_line(stack.url)}\n", flush=True)
        console.print(f"AWS endpoint: {stack.aws.endpoint}. Logs: {stack.run}. Press Ctrl-C to stop.", soft_wrap=True)
        try:
            await stack.wait_for_exit()
        except asyncio.CancelledError:
            console.print("Stopping …")


def curl_line(url: str) -> str:
    """Return a command line to paste into a shell."""
    body = '{"prompts": ["Tell me a joke about the economy.", "Tell me a joke about plants."]}'
    return f"curl -s {url}/tasks -H 'Authorization: Bearer {API_KEY}' -H 'Content-Type: application/json' -d '{body}'"
