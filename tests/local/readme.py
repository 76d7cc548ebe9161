"""Read the README's commands and examples, so that tests can run and compare what it really says."""

import json
import re
from collections.abc import Iterator
from typing import Any

from local.settings import ROOT

_FENCE = re.compile(
    r"(?:<!-- run: (?P<mark>[a-z ]+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
UNMARKED = ""


def commands() -> dict[str, str]:
    """Return the shell commands by the mark before their block: all blocks of one mark, in their order."""
    found: dict[str, str] = {}
    for kind, mark, text in _blocks():
        if kind == "sh":
            found[mark] = found.get(mark, "") + text
    return found


def examples() -> list[Any]:
    """Return the JSON documents that the README shows."""
    return [json.loads(text) for kind, _, text in _blocks() if kind == "json"]


def _blocks() -> Iterator[tuple[str, str, str]]:
    for block in _FENCE.finditer((ROOT / "README.md").read_text()):
        yield block["kind"], block["mark"] or UNMARKED, block["text"]


def fields(document: object) -> object:
    """Reduce a document to the names of its fields, at every depth; a list to the fields of its items."""
    if isinstance(document, dict):
        return {name: fields(value) for name, value in document.items()}
    if isinstance(document, list):
        return [fields(item) for item in document]
    return None
