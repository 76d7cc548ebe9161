"""Find the resource that saturates first, and the setting to raise."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report import table


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource: its limit and the need at the peak, in the same unit, and the setting to raise."""

    name: str
    limit: float
    need: float
    more: str

    @property
    def utilisation(self) -> float:
        """Return the need as a percentage of the limit."""
        return 100 * self.need / self.limit


def saturation(resources: Sequence[Resource]) -> list[str]:
    """Return the table of all resources in the order of saturation, and a summary."""
    ordered = sorted(resources, key=lambda resource: -resource.utilisation)
    rows = [
        (each.name, f"{each.limit:,.0f}", f"{each.need:,.0f}", f"{each.utilisation:.0f} %", each.more)
        for each in ordered
    ]
    return [
        "The order of saturation. All needs grow with the load, so the first resource in this table saturates first:",
        table(("", "limit", "needed at the peak", "utilisation", "raise"), rows),
        _words(ordered),
    ]


def _words(ordered: Sequence[Resource]) -> str:
    full = [f"{each.name} (raise {each.more})" for each in ordered if each.need > each.limit]
    left = [each for each in ordered if each.need <= each.limit]
    sentences = [f"Saturated at the peak: {'; '.join(full)}." if full else "Nothing is saturated at the peak."]
    if left:
        sentences.append(f"Next: {left[0].name}, {left[0].utilisation:.0f} % used.")
    if len(left) > 1:
        sentences.append(f"Farthest from its limit: {left[-1].name}, {left[-1].utilisation:.0f} % used.")
    return " ".join(sentences)
