"""Take docs/images/console-*.png: `python -m local.screenshots` runs the stack and captures the console.

It needs Chromium, on the PATH or named by CHROMIUM. If optipng is installed, the files become a fifth smaller.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from local.aws import API_KEY
from local.errors import DemoError
from local.settings import ROOT, read_settings
from local.stack import running_stack

FOLDER = ROOT / "docs" / "images"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PATIENCE_MS = 240_000
# The stand-in's directives are in the system prompts, which no picture shows.
SLOW = "[[tokens:150]] [[delay:0.25]]"
PACES = ("[[tokens:38]] [[delay:0.03]]", "[[tokens:55]] [[delay:0.03]]", "[[tokens:30]] [[delay:0.05]]")
FAULTS = {7: "[[fault:policy]]", 31: "[[fault:context]]", 52: "[[fault:policy]]", 77: "[[fault:400]]"}
THINGS = ("oak desk", "enamel kettle", "wool blanket", "bicycle bell", "clay teapot", "brass lamp", "linen apron")
PLACES = ("for a small kitchen", "as a gift", "for the spring catalogue", "in two sentences", "for the shop window")
SENT, SLOW_ONES = 180, range(96, 114)


def prompts() -> str:
    """Return the file of prompts: a line for each product."""
    lines = []
    for number in range(SENT):
        thing, place = THINGS[number % len(THINGS)], PLACES[number % len(PLACES)]
        pace = FAULTS.get(number) or (SLOW if number in SLOW_ONES else PACES[number % len(PACES)])
        lines.append({"prompt": f"Describe the {thing} {place}", "custom_id": f"sku-{number:04d}", "system": pace})
    return "\n".join(map(json.dumps, lines))


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise DemoError("Chromium was not found. Install it, or set CHROMIUM to its path.")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found)
        yield browser
        await browser.close()


async def _take(page: Page, name: str) -> None:
    await page.screenshot(path=FOLDER / f"{name}.png")


def _make_smaller() -> None:
    pictures = [str(path) for path in FOLDER.glob("console-*.png")]
    if optimiser := shutil.which("optipng"):
        subprocess.run([optimiser, "-quiet", "-o5", "-strip", "all", *pictures], check=True)


async def _send(page: Page, url: str, file: Path) -> None:
    await page.goto(f"{url}/console")
    await page.get_by_role("button", name="Set the key").click()
    await page.get_by_label("Key", exact=True).fill(API_KEY)
    await page.get_by_role("button", name="Use this key").click()
    await page.get_by_label("Choose a file").set_input_files(file)
    await page.get_by_role("button", name=f"Send {SENT} prompts").click()


async def shoot() -> None:
    """Run the console and write the pictures; raises StackError if that fails."""
    settings = read_settings({"PORT": "0", "CONCURRENCY": "10"})
    async with running_stack(settings, lambda step: print(f"✓ {step}")) as stack, _browser() as browser:
        await stack.warm_up()
        file = stack.run / "products.jsonl"
        file.write_text(prompts(), encoding="utf-8")
        context = await browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
        page = await context.new_page()
        await _send(page, stack.url, file)
        # Wait until the slow tasks are processing, with some text each.
        running = page.get_by_role("option", name=re.compile(rf"^Task {SLOW_ONES[4]}, processing, [2-9]\d percent"))
        await page.get_by_role("button", name="processing").click()
        await expect(running).to_be_visible()
        await _take(page, "console-light")
        await running.click()
        await expect(page.locator("#answer")).not_to_be_empty()
        await page.emulate_media(color_scheme="dark")
        await _take(page, "console-dark")
        await page.get_by_role("button", name="Close the task").click()
        await page.get_by_role("button", name=re.compile("^all")).click()
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        await page.evaluate("scrollTo(0, 0)")
        await _take(page, "console-narrow")
    _make_smaller()


if __name__ == "__main__":
    try:
        asyncio.run(shoot())
    except DemoError as error:
        sys.exit(str(error))
