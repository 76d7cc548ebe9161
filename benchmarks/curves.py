"""Draw lines over the hours as SVG that can be read in the light and in the dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.report import IMAGES

_STYLE: Final = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.v{font-size:12px}polyline{fill:none;stroke-width:2}"
    ".c0{stroke:#cf222e}.c1{stroke:#0969da}.c2{stroke:#1a7f37}.a{stroke:#8c959f;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.c0{stroke:#ff7b72}.c1{stroke:#4493f8}.c2{stroke:#3fb950}"
    ".a{stroke:#6e7681}}</style>"
)
_COLOURS: Final = 3
_LEFT, _TOP, _WIDTH, _HEIGHT, _ROW = 90, 40, 600, 200, 20
_TICK_HOURS: Final = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: its values lie as many seconds apart as those of the others."""

    name: str
    values: Sequence[float]


def curves(name: str, title: str, lines: Sequence[Curve], seconds: float) -> str:
    """Draw up to three lines into docs/images and return the Markdown that shows them."""
    most = max(max(line.values) for line in lines)
    hours = seconds * max(len(line.values) for line in lines) / 3600
    bottom, height = _TOP + _HEIGHT, _TOP + _HEIGHT + 30 + _ROW * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}" role="img">',
        f"<title>{escape(title)}</title>{_STYLE}",
        f'<text x="8" y="20" font-weight="600">{escape(title)}</text>',
        f'<path class="a" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{_LEFT + _WIDTH}"/>',
        f'<text class="v" x="{_LEFT - 8}" y="{_TOP + 5}" text-anchor="end">{most:,.0f}</text>',
        f'<text class="v" x="{_LEFT - 8}" y="{bottom + 5}" text-anchor="end">0</text>',
    ]
    for hour in range(0, int(hours) + 1, _TICK_HOURS):
        x = _LEFT + _WIDTH * hour / hours
        parts.append(f'<text class="v" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{hour} h</text>')
    for place, line in enumerate(lines):
        points = " ".join(
            f"{_LEFT + _WIDTH * number * seconds / 3600 / hours:.1f},{bottom - _HEIGHT * value / most:.1f}"
            for number, value in enumerate(line.values)
        )
        y = bottom + 38 + _ROW * place
        colour = f"c{place % _COLOURS}"
        parts += [
            f'<polyline class="{colour}" points="{points}"/>',
            f'<polyline class="{colour}" points="{_LEFT},{y - 4} {_LEFT + 24},{y - 4}"/>',
            f'<text class="v" x="{_LEFT + 32}" y="{y}">{escape(line.name)}</text>',
        ]
    parts.append("</svg>\n")
    (IMAGES / f"bench-{name}.svg").write_text("\n".join(parts))
    return f"![{title}](images/bench-{name}.svg)"
