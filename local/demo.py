"""The demo: submit four prompts in one call, show a progress bar for each, and print the results."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Self

import aiohttp
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from local.errors import DemoError
from local.settings import Settings
from local.stack import AUTHORIZATION, Stack, running_stack

TOPICS = ("the economy", "animals", "plants", "food")
PROMPT = "Tell me one short joke about {topic}, in two or three sentences."
# For the progress bars: the stand-in's jokes have 40 to 60 words, and so have a model's answers to this prompt.
EXPECTED_TOKENS = 55
# The stand-in's pace, slow enough to watch the bars: about five seconds for a joke.
CHUNK_DELAY = 0.1
POLL_SECONDS = 0.15
PATIENCE_SECONDS = 600
CALL_SECONDS = 60
# Without a terminal, a line is printed for each quarter and each change of status.
LINE_PERCENT = 25
COLOURS = {"queued": "yellow", "processing": "cyan", "completed": "green"}
ENDED = ("completed", "failed", "cancelled")

type Task = dict[str, Any]


async def run_demo(settings: Settings, console: Console) -> bool:
    """Start the stack, run four prompts and stop the stack; return whether every task completed."""
    async with running_stack(for_demo(settings), lambda step: console.print(done(step), soft_wrap=True)) as stack:
        await stack.while_alive(stack.warm_up())
        console.print(done("The functions are warm"))
        console.print(introduction(settings))
        tasks = await stack.while_alive(_show(stack, console))
    for topic, task in zip(TOPICS, tasks, strict=True):
        console.print(_answer(topic, task))
    return all(task["status"] == "completed" for task in tasks)


def for_demo(settings: Settings) -> Settings:
    """Return the settings of a demo: a free port, so that a taken one can't fail it, and a slow stand-in."""
    return replace(settings, port=0, model_chunk_delay=max(settings.model_chunk_delay, CHUNK_DELAY))


def done(step: str) -> str:
    """Format the line of a finished step."""
    return f"[green]✓[/green] {step}"


def introduction(settings: Settings) -> str:
    """Format the line above the bars."""
    return f"\nFour prompts in one request; the worker makes {settings.concurrency} model calls at a time.\n"


async def _show(stack: Stack, console: Console) -> list[Task]:
    tasks: list[Task] = []
    with Bars(console) as bars:
        async with aclosing(follow(stack)) as states:
            async for tasks in states:
                bars.show(tasks)
    return tasks


async def follow(stack: Stack) -> AsyncGenerator[list[Task]]:
    """Submit the four prompts in one request and yield the tasks repeatedly until all have ended."""
    prompts = [{"prompt": PROMPT.format(topic=topic), "expected_tokens": EXPECTED_TOKENS} for topic in TOPICS]
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        aiohttp.ClientSession(stack.url, headers=AUTHORIZATION, timeout=timeout) as api,
    ):
        # Deliveries are held so that one worker gets all four messages in one batch. Otherwise MiniStack may deliver
        # the first message to one worker and the rest to another, and no task would be queued.
        await stack.hold_deliveries()
        task_ids = (await _request(api, "POST", "/tasks", json={"prompts": prompts}))["task_ids"]
        yield await _get_tasks(api, task_ids)
        await stack.deliver()
        while True:
            tasks = await _get_tasks(api, task_ids)
            yield tasks
            if all(task["status"] in ENDED for task in tasks):
                return
            await asyncio.sleep(POLL_SECONDS)


async def _get_tasks(api: aiohttp.ClientSession, task_ids: list[str]) -> list[Task]:
    tasks: list[Task] = (await _request(api, "GET", "/tasks", params={"task_ids": ",".join(task_ids)}))["tasks"]
    return tasks


async def _request(api: aiohttp.ClientSession, method: str, path: str, **what: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's
    try:
        async with api.request(method, path, **what) as answer:
            if not answer.ok:
                raise DemoError(f"{method} {path} returned {answer.status}: {await answer.text()}")
            body: dict[str, Any] = await answer.json(content_type=None)
            return body
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoError(f"{method} {path} got no response: {error!r}") from error


def _answer(topic: str, task: Task) -> Panel:
    if task["status"] == "completed":
        return Panel(Text(str(task["result"])), title=f"A joke about {topic}", title_align="left", border_style="green")
    reason = (task.get("error") or {}).get("code", "no reason given")
    return Panel(f"{task['status']}: {reason}", title=topic, title_align="left", border_style="red")


class Bars:
    """Show a progress bar for each task on a terminal, otherwise a line for each change of status."""

    def __init__(self, console: Console) -> None:
        """Create a bar for each topic."""
        self._console = console
        self._seen: dict[str, tuple[str, int]] = {}
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            TextColumn("{task.fields[word]}"),
            BarColumn(bar_width=40, complete_style="cyan", finished_style="green"),
            TextColumn("{task.percentage:>3.0f}%"),
            console=console,
            disable=not console.is_terminal,
        )
        self._rows = [self._progress.add_task(topic, total=100, word="") for topic in TOPICS]

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays visible."""
        self._progress.stop()

    def show(self, tasks: list[Task]) -> None:
        """Draw the state of the tasks, one for each topic."""
        for topic, row, task in zip(TOPICS, self._rows, tasks, strict=True):
            status, percent = task["status"], task["progress"]
            colour = COLOURS.get(status, "red")
            self._progress.update(row, completed=percent, word=f"[{colour}]{status:<10}[/]")
            state = (status, percent // LINE_PERCENT)
            if not self._console.is_terminal and self._seen.get(topic) != state:
                self._console.print(f"{topic:<12} {status:<10} {percent:>3}%")
                self._seen[topic] = state
        self._progress.refresh()

    def still(self) -> RenderableType:
        """Return the current bars, for a picture."""
        return self._progress.get_renderable()
