"""A browser in front of the stack: Chromium as the system has it, one stack and one window a test."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from local.aws import API_KEY
from tests.browser.console import Console
from tests.local.conftest import KEY, Up, started

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# A browser, a stack and what else the machine has to do: each condition may take its time, and none is slept for.
PATIENCE_MS = 60_000
VIEWPORT = {"width": 1280, "height": 860}


@pytest.fixture(scope="session")
def chromium() -> str:
    """Name the browser; without one these tests have nothing to drive."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium on the PATH, and CHROMIUM names none")
    return found


# A module's own: Playwright keeps a loop running in this thread, and tests that come after could start none of theirs.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run one stack; its model is quick where a prompt asks for nothing else."""
    assert browser.is_connected()
    with started(
        tmp_path_factory.mktemp("stack"), CONCURRENCY="10", MODEL_LATENCY="0.05", MODEL_CHUNK_DELAY="0.002"
    ) as up:
        yield up


@pytest.fixture
def api(stack: Up) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, headers=KEY, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def window(browser: Browser, stack: Up) -> Iterator[Callable[..., Page]]:
    """Open pages, each with a storage of its own; at the end nothing may have failed in one or have left the origin."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def blocked(said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            wrong.append(said.text)

    def left(asked: Request) -> None:
        if not asked.url.startswith((stack.url, "data:", "blob:")):
            wrong.append(asked.url)

    def failed(error: Error) -> None:
        wrong.append(str(error))

    def open_page(**options: Any) -> Page:  # noqa: ANN401  # whatever a context takes
        context = browser.new_context(base_url=stack.url, **{"viewport": VIEWPORT, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", failed)
        page.on("console", blocked)
        page.on("request", left)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def console(window: Callable[..., Page]) -> Console:
    """Open the console with its key set."""
    console = Console(window())
    console.open()
    console.use_key(API_KEY)
    return console


@pytest.fixture
def prompt_file(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file to be chosen."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
