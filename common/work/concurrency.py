"""Say how many calls an environment should have in flight: one more while all is well, fewer at once when it is not.

Additive increase, multiplicative decrease, as TCP does it. Pure: times come in, a number comes out.
"""

from typing import Final

CUT: Final = 0.5
"""What is left after the provider has refused or failed a call."""

EASE: Final = 0.8
"""What is left where answers merely take longer to begin: a hint, and no refusal."""

SLOW_FACTOR: Final = 2.0
"""How many times its usual value the time to the first token must reach to count as rising."""

RECENT: Final = 0.2
"""Weight of one call in the recent time to the first token: about the last nine count."""

USUAL: Final = 0.01
"""Its weight in the usual one: some two hundred calls, so that a rise is seen long before it is the usual."""


class Concurrency:
    """Adapt the number of calls in flight, between a least and a most; it starts at the most."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._level = float(most)
        self._cut_at = float("-inf")
        self._recent: dict[str, float] = {}
        self._usual: dict[str, float] = {}

    @property
    def limit(self) -> int:
        """Return how many calls may be in flight."""
        return int(self._level)

    def succeeded(self, model: str, started_at: float, now: float, first_token_seconds: float) -> None:
        """Note an answered call: `limit` of them make room for one more, unless answers have become slow to begin."""
        recent = self._recent[model] = _moved(self._recent.get(model), first_token_seconds, RECENT)
        usual = self._usual[model] = _moved(self._usual.get(model), first_token_seconds, USUAL)
        if recent > SLOW_FACTOR * usual:
            self._decrease(EASE, started_at, now)
        else:
            self._level = min(self._most, self._level + 1 / self._level)

    def refused(self, started_at: float, now: float) -> None:
        """Note a call that the provider refused or failed for lack of room: a 429, a 5xx or a timeout."""
        self._decrease(CUT, started_at, now)

    def _decrease(self, factor: float, started_at: float, now: float) -> None:
        # A call that started before the last decrease says nothing of what it has brought.
        if started_at >= self._cut_at:
            self._level = max(self._least, self._level * factor)
            self._cut_at = now


def _moved(average: float | None, value: float, weight: float) -> float:
    return value if average is None else average + weight * (value - average)
