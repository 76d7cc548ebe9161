"""Draw docs/images/demo.svg: `python -m local.picture` runs the demo and captures it.

It captures the moment when three tasks are processing and the fourth is queued.
"""

import asyncio
import io
import re
from contextlib import aclosing

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from local.demo import Bars, Task, done, follow, for_demo, introduction
from local.errors import DemoError
from local.settings import ROOT, read_settings
from local.stack import running_stack

PICTURE = ROOT / "docs" / "images" / "demo.svg"
COLUMNS = 76
# Far enough for bars that differ, early enough for partial ones.
LEAST_PERCENT = 35
THEME = TerminalTheme(
    background=(24, 27, 34),
    foreground=(216, 220, 228),
    normal=[
        (40, 44, 52),
        (232, 110, 118),
        (126, 196, 120),
        (229, 181, 103),
        (97, 165, 238),
        (198, 130, 220),
        (86, 190, 200),
        (216, 220, 228),
    ],
)


def is_the_moment(tasks: list[Task]) -> bool:
    """Return whether three tasks are well under way while one is queued."""
    running = [task["progress"] for task in tasks if task["status"] == "processing"]
    return len(running) == len(tasks) - 1 and min(running) >= LEAST_PERCENT


def _svg(console: Console) -> str:
    """Export the console as SVG in the reader's own font, so that the picture loads nothing."""
    svg = console.export_svg(title="Sluice", theme=THEME, unique_id="demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace(
        "Fira Code", "ui-monospace, Menlo, Consolas"
    )


async def draw() -> None:
    """Run the demo and write the picture; raises DemoError if the moment never comes."""
    settings = read_settings({})
    console = Console(file=io.StringIO(), record=True, force_terminal=True, width=COLUMNS, highlight=False)
    console.print("\n[bold]$ make demo[/bold]\n")
    async with running_stack(for_demo(settings), lambda step: console.print(done(step))) as stack:
        await stack.warm_up()
        console.print(done("The functions are warm"))
        console.print(introduction(settings))
        bars = Bars(console)
        async with aclosing(follow(stack)) as looks:
            async for tasks in looks:
                bars.show(tasks)
                if is_the_moment(tasks):
                    console.print(bars.still(), "")
                    PICTURE.write_text(_svg(console))
                    return
    raise DemoError("The moment never came: start it again")


if __name__ == "__main__":
    asyncio.run(draw())
