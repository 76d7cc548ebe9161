"""Write the table of docs/reliability.md: one row per fault, with only deterministic values."""

from collections.abc import Sequence
from typing import Final

from local.settings import ROOT
from tests.faults.faults import Row

DOCUMENT: Final = ROOT / "docs" / "reliability.md"
_BEGIN: Final = "<!-- made by make faults -->"
_END: Final = "<!-- end of what make faults makes -->"


def table(rows: Sequence[Row]) -> str:
    """Draw the table."""
    lines = [
        "| fault | runs | tasks | lost | paid beyond the bound | paid calls |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lost = f"**{row.hole}: the known hole**" if row.hole else str(row.lost)
        least, most = row.calls
        calls = f"{least}" if least == most else f"{least} to {most}"
        lines.append(f"| {row.fault} | {row.runs} | {row.tasks} | {lost} | {row.paid_too_often} | {calls} |")
    return "\n".join(lines)


def write_table(rows: Sequence[Row]) -> None:
    """Put the table between its marks, and print it."""
    drawn = table(rows)
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCUMENT.write_text(f"{before}{_BEGIN}\n{drawn}\n{_END}{after}")
    print(f"\n{drawn}")  # noqa: T201  # for whoever waits for it
