"""The demo: four prompts in one call, a bar for each, and the answers."""

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
# For the bars: the jokes of the stand-in are 40 to 60 words, and so is what a model makes of that prompt.
EXPECTED_TOKENS = 55
# Slow enough that a bar can be watched, on the stand-in: about five seconds for a joke.
CHUNK_DELAY = 0.1
POLL_SECONDS = 0.15
PATIENCE_SECONDS = 600
CALL_SECONDS = 60
# Where no bar can be drawn, a line for each quarter and for each change of state.
LINE_PERCENT = 25
COLOURS = {"queued": "yellow", "processing": "cyan", "completed": "green"}
ENDED = ("completed", "failed", "cancelled")

type Task = dict[str, Any]


async def run_demo(settings: Settings, console: Console) -> bool:
    """Start the stack, show it four prompts and stop it; tell whether every task completed."""
    async with running_stack(for_demo(settings), lambda step: console.print(done(step), soft_wrap=True)) as stack:
        await stack.while_alive(stack.warm_up())
        console.print(done("The functions are warm"))
        console.print(introduction(settings))
        tasks = await stack.while_alive(_show(stack, console))
    for topic, task in zip(TOPICS, tasks, strict=True):
        console.print(_answer(topic, task))
    return all(task["status"] == "completed" for task in tasks)


def for_demo(settings: Settings) -> Settings:
    """Give the settings of a demo: any port will do, so that it can't fail because of one, and a slow stand-in."""
    return replace(settings, port=0, model_chunk_delay=max(settings.model_chunk_delay, CHUNK_DELAY))


def done(step: str) -> str:
    """Give the line for a step that is done."""
    return f"[green]✓[/green] {step}"


def introduction(settings: Settings) -> str:
    """Give the line above the bars."""
    return f"\nFour prompts in one call; the worker asks the model {settings.concurrency} at a time.\n"


async def _show(stack: Stack, console: Console) -> list[Task]:
    tasks: list[Task] = []
    with Bars(console) as bars:
        async with aclosing(follow(stack)) as looks:
            async for tasks in looks:
                bars.show(tasks)
    return tasks


async def follow(stack: Stack) -> AsyncGenerator[list[Task]]:
    """Submit the four prompts in one call and yield how they stand, again and again until all have ended."""
    prompts = [{"prompt": PROMPT.format(topic=topic), "expected_tokens": EXPECTED_TOKENS} for topic in TOPICS]
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        aiohttp.ClientSession(stack.url, headers=AUTHORIZATION, timeout=timeout) as api,
    ):
        # The four go to one worker, in one batch. MiniStack hands out what is there at the moment it looks, so now and
        # then one worker would get the first message and another the rest: nothing would ever wait.
        await stack.hold_deliveries()
        task_ids = (await _ask(api, "POST", "/tasks", json={"prompts": prompts}))["task_ids"]
        yield await _look(api, task_ids)
        await stack.deliver()
        while True:
            tasks = await _look(api, task_ids)
            yield tasks
            if all(task["status"] in ENDED for task in tasks):
                return
            await asyncio.sleep(POLL_SECONDS)


async def _look(api: aiohttp.ClientSession, task_ids: list[str]) -> list[Task]:
    tasks: list[Task] = (await _ask(api, "GET", "/tasks", params={"task_ids": ",".join(task_ids)}))["tasks"]
    return tasks


async def _ask(api: aiohttp.ClientSession, method: str, path: str, **what: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's
    try:
        async with api.request(method, path, **what) as answer:
            if not answer.ok:
                raise DemoError(f"{method} {path} answered {answer.status}: {await answer.text()}")
            body: dict[str, Any] = await answer.json(content_type=None)
            return body
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoError(f"{method} {path} was not answered: {error!r}") from error


def _answer(topic: str, task: Task) -> Panel:
    if task["status"] == "completed":
        return Panel(Text(str(task["result"])), title=f"A joke about {topic}", title_align="left", border_style="green")
    reason = (task.get("error") or {}).get("code", "no reason given")
    return Panel(f"{task['status']}: {reason}", title=topic, title_align="left", border_style="red")


class Bars:
    """A bar for each task on a terminal; elsewhere a line for each change of state."""

    def __init__(self, console: Console) -> None:
        """Give each topic its row."""
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
        """Leave the last picture standing."""
        self._progress.stop()

    def show(self, tasks: list[Task]) -> None:
        """Draw how the tasks stand, one for each topic."""
        for topic, row, task in zip(TOPICS, self._rows, tasks, strict=True):
            status, percent = task["status"], task["progress"]
            colour = COLOURS.get(status, "red")
            self._progress.update(row, completed=percent, word=f"[{colour}]{status:<10}[/]")
            news = (status, percent // LINE_PERCENT)
            if not self._console.is_terminal and self._seen.get(topic) != news:
                self._console.print(f"{topic:<12} {status:<10} {percent:>3}%")
                self._seen[topic] = news
        self._progress.refresh()

    def still(self) -> RenderableType:
        """Give the bars as they stand, for a picture."""
        return self._progress.get_renderable()
