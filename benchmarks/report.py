"""Write the results: a Markdown page, and SVG plots for light and dark backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from local.settings import ROOT

IMAGES: Final = ROOT / "docs" / "images"

_STYLE: Final = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.v{font-size:12px}.b{fill:#8c959f}.o{fill:#0969da}"
    ".g{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:4 3}.s{stroke:#24292f;stroke-width:1.2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#6e7681}.o{fill:#4493f8}.g{stroke:#ff7b72}"
    ".s{stroke:#e6edf3}}</style>"
)
_LEFT, _WIDTH, _ROW, _TOP = 250, 330, 28, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a plot: a value with its spread; Sluice's bars are coloured."""

    name: str
    value: float
    least: float
    most: float
    is_ours: bool = False


def bars(name: str, title: str, rows: Sequence[Bar], *, goal: float | None = None, digits: int = 2) -> str:
    """Draw bars into docs/images and return the Markdown that shows them; the goal is a dashed line."""
    scale = _WIDTH / max(row.most for row in rows)
    height = _TOP + _ROW * len(rows) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}" role="img">',
        f"<title>{escape(title)}</title>{_STYLE}",
        f'<text x="8" y="20" font-weight="600">{escape(title)}</text>',
    ]
    for place, row in enumerate(rows):
        y = _TOP + place * _ROW
        kind = "o" if row.is_ours else "b"
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y + 2}" width="{row.value * scale:.1f}" height="18" rx="2"/>',
            (
                f'<line class="s" x1="{_LEFT + row.least * scale:.1f}" x2="{_LEFT + row.most * scale:.1f}" '
                f'y1="{y + 11}" y2="{y + 11}"/>'
            ),
            f'<text class="v" x="{_LEFT + row.most * scale + 8:.1f}" y="{y + 15}">{row.value:.{digits}f}</text>',
        ]
    if goal is not None:
        x = _LEFT + goal * scale
        parts.append(f'<line class="g" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{height - 6}"/>')
    parts.append("</svg>\n")
    (IMAGES / f"bench-{name}.svg").write_text("\n".join(parts))
    return f"![{title}](images/bench-{name}.svg)"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the summary."""

    what: str
    goal: str
    measured: str
    is_met: bool
    why: str = ""


@dataclass(slots=True)
class Section:
    """A benchmark's section: its goals and paragraphs."""

    title: str
    goals: list[Goal] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Write it."""
        return "\n\n".join([f"## {self.title}", *self.paragraphs])


def summary(goals: Sequence[Goal]) -> str:
    """Write the table of all goals."""
    head = "| | goal | measured | met |\n|---|---|---|---|"
    rows = [
        f"| {goal.what} | {goal.goal} | {goal.measured} | {'yes' if goal.is_met else 'no: ' + goal.why} |"
        for goal in goals
    ]
    return "\n".join([head, *rows])


def write(path: Path, sections: Sequence[Section], introduction: str) -> None:
    """Write the page."""
    goals = [goal for section in sections for goal in section.goals]
    parts = ["# Benchmarks", introduction, "## Goals", summary(goals), *(section.text() for section in sections)]
    path.write_text("\n\n".join(parts) + "\n")
