"""Store the description of each release, and compare the current one with the latest."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tools.openapi.compatibility import breaks

FOLDER: Final = Path(__file__).parents[2] / "docs/releases"
"""The folder of released descriptions, openapi-<version>.json."""

_NAME: Final = re.compile(r"openapi-(\d+)\.(\d+)\.(\d+)\.json")


class ReleaseProblem(Exception):
    """The description cannot be stored as a release; the text gives the reason."""


def last_release(folder: Path = FOLDER) -> Path | None:
    """Return the file of the highest version; None before the first release."""
    found = [(tuple(map(int, match.groups())), path) for path in folder.glob("*") if (match := _match(path))]
    return max(found)[1] if found else None


def keep(document: dict[str, Any], text: str, folder: Path = FOLDER) -> Path:
    """Store a description under its version.

    Raises:
        ReleaseProblem: the version is already released with another description.

    """
    path = folder / f"openapi-{document['info']['version']}.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ReleaseProblem(f"{path.name} already exists and a release never changes; raise the version first")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def judge(document: dict[str, Any], folder: Path = FOLDER) -> tuple[bool, Sequence[str]]:
    """Compare a description with the latest release; return whether it may be released, and a report."""
    last = last_release(folder)
    if last is None:
        return True, [f"There is no release to compare the API with: {folder.name}/ has no openapi-<version>.json"]
    released = json.loads(last.read_text(encoding="utf-8"))
    found = breaks(released, document)
    versions = [each["info"]["version"] for each in (released, document)]
    if not found:
        return True, [f"The API breaks nothing of {versions[0]}"]
    lines = [f"The API breaks {len(found)} things of {versions[0]}:", *(f"  {each}" for each in found)]
    if _may_break(*versions):
        return True, [*lines, f"which {versions[1]} may do"]
    return False, [*lines, "Undo them, or raise the version so that it may (docs/decisions/0001)"]


def _may_break(old: str, new: str) -> bool:
    # Semantic Versioning: the first number says so, and before 1.0.0 the second.
    before, after = (tuple(map(int, version.split("."))) for version in (old, new))
    return after[:1] > before[:1] or (before[0] == 0 and after[:2] > before[:2])


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)
