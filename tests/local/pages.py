"""Extract the commands and examples of the README and of docs/, so that tests can run them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local.settings import ROOT

README: Final = ROOT / "README.md"
CONTRIBUTING: Final = ROOT / "CONTRIBUTING.md"
API: Final = ROOT / "docs" / "api.md"

_FENCE = re.compile(
    r"(?:<!-- run: (?P<mark>[a-z ]+)(?:, refused: (?P<refused>[a-z_ ]+))? -->\n)?"
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
UNMARKED = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the mark before it, its text, and the codes of the errors that it shows."""

    kind: str
    mark: str
    text: str
    refused: frozenset[str]


def blocks(page: Path) -> Iterator[Block]:
    """Give a page's blocks in their order."""
    for block in _FENCE.finditer(page.read_text(encoding="utf-8")):
        refused = frozenset((block["refused"] or "").split())
        yield Block(block["kind"], block["mark"] or UNMARKED, block["text"], refused)


def commands(page: Path = README) -> dict[str, str]:
    """Return the shell commands by the mark before their block: all blocks of one mark, in their order."""
    found: dict[str, str] = {}
    for block in blocks(page):
        if block.kind == "sh":
            found[block.mark] = found.get(block.mark, "") + block.text
    return found


def examples(page: Path = README) -> list[Any]:
    """Return the JSON documents that a page shows."""
    return [json.loads(block.text) for block in blocks(page) if block.kind == "json"]


def fields(document: object) -> object:
    """Reduce a document to the names of its fields, at every depth; a list to the fields of its items."""
    if isinstance(document, dict):
        return {name: fields(value) for name, value in document.items()}
    if isinstance(document, list):
        return [fields(item) for item in document]
    return None
