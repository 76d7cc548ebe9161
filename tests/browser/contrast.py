"""Find texts with too little contrast, by WCAG 2.2."""

from pathlib import Path

from playwright.sync_api import Page

_LOOK = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


def low_contrasts(page: Page) -> list[str]:
    """Name the visible texts whose contrast with what they stand on is below 4.5 to 1."""
    found: list[str] = page.evaluate(_LOOK)
    return found
