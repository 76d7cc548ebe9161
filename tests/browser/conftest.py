"""Fixtures for browser tests: the shared stack, the system's Chromium, and one window per test."""

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
from tests.local_stack import KEY, Up

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


@pytest.fixture
def api(browser: Browser, stack: Up) -> Iterator[httpx.Client]:
    assert browser.is_connected()
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
        # A route makes Chromium intercept each request from the first on. Interception that begins under a loaded page
        # can miss the next request: the service gets it, and the test that holds it waits in vain.
        context.route("**/intercepted-from-the-start", lambda route: route.abort())
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
