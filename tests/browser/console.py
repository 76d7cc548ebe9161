"""Page object of the console: finds elements by their visible text, not by their markup."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect


@dataclass(frozen=True, slots=True)
class Console:
    """One window with the console in it."""

    page: Page

    def open(self, fragment: str = "") -> None:
        """Load it."""
        self.page.goto(f"/console{fragment}")

    def use_key(self, key: str) -> None:
        """Set the key."""
        self.page.get_by_role("button", name="Set the key").click()
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Use this key").click()
        expect(self.page.get_by_role("button", name="Key set")).to_be_visible()

    def send(self, *prompts: str) -> None:
        """Type prompts, a line each, and send them; returns when they are accepted."""
        self.page.get_by_label("Prompts").fill("\n".join(prompts))
        self.page.get_by_role("button", name=re.compile("^Send ")).click()
        expect(self.heading).to_have_text(re.compile(rf"^{len(prompts):,} tasks?$"))

    @property
    def heading(self) -> Locator:
        """What the run is."""
        return self.page.locator("#run-title")

    @property
    def panel(self) -> Locator:
        """The open task."""
        return self.page.get_by_role("complementary", name="Task")

    @property
    def rows(self) -> Locator:
        """The rows that are on the screen."""
        return self.page.get_by_role("option")

    def row(self, number: int) -> Locator:
        """Find the row of a task by the number it has in the run, from 1."""
        return self.page.get_by_role("option", name=re.compile(rf"^Task {number},"))

    def number(self, name: str) -> Locator:
        """Find a figure of the summary: done, running, failed, …"""
        return self.page.locator(f"[data-name={name}] dd")

    def batch_ids(self) -> list[str]:
        """Read the batches of the run from the address."""
        found = parse_qs(urlsplit(self.page.url).fragment).get("run", [""])
        return [each for each in found[0].split(",") if each]
