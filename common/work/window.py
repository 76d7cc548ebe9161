"""Divide the time of one invocation, on the clock of the running event loop.

    start ───────────────── stop_at ──────── writes_end ── hard_end ──── lease end
      calls are started and    the cut ones    only the      Lambda      another worker
      run to their end         are released    queue now     kills us    may claim

No wait outlasts its part, so nothing has to be cancelled from outside, and no write is cut in the middle by a stop.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

MARGIN_SECONDS: Final = 8.0
"""Between the soft stop and the hard end: a write with its retries (about 5 s) and the calls to the queue."""

MARGIN_PARTS: Final = 5
"""But at most the fifth part of the function's timeout, for the short timeouts of tests and trials."""

QUEUE_SHARE: Final = 1 / 3
"""Of the margin, what is left for the queue when the writes have to be over."""

LEASE_GRACE_SECONDS: Final = 5.0
"""What the lease lasts beyond the hard end: Lambda's kill is not instant."""

SHORTEST_CALL_SECONDS: Final = 1.0
"""With less time than this until the soft stop no call is started, not even the first."""

_REMEMBERED_CALLS: Final = 20
"""How many recent calls tell how long the next may take."""


def margin_of(timeout_seconds: float) -> float:
    """Return the seconds before the hard end at which a function with this timeout stops its calls."""
    return min(MARGIN_SECONDS, timeout_seconds / MARGIN_PARTS)


@dataclass(frozen=True, slots=True)
class Window:
    """Hold the borders of one invocation, in seconds of the event loop's clock."""

    stop_at: float
    writes_end: float
    hard_end: float

    @classmethod
    def opening(cls, remaining_seconds: float, margin_seconds: float) -> "Window":
        """Start a window now, with what Lambda says is left."""
        hard_end = _now() + remaining_seconds
        return cls(hard_end - margin_seconds, hard_end - margin_seconds * QUEUE_SHARE, hard_end)

    @property
    def seconds_to_stop(self) -> float:
        """Say how long a call may still run."""
        return self.stop_at - _now()

    @property
    def lease_seconds(self) -> float:
        """Say how long a lease taken now lasts, and how long one taken earlier will still last."""
        return self.hard_end + LEASE_GRACE_SECONDS - _now()

    @property
    def lease_ms(self) -> int:
        """Say the same in milliseconds, as the store takes it."""
        return math.ceil(self.lease_seconds * 1000)


class Pace:
    """Remember how long each tenant's calls take in this environment, and judge by the slowest whether one more fits.

    One tenant's slow calls say nothing of another's: they must not keep those from starting.
    """

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._in_window: set[str] = set()

    def open_window(self) -> None:
        """Begin an invocation. Its first calls may start whatever the past says, or none ever would again.

        Tenants that had no call in the last one are forgotten: they come and go.
        """
        self._recent = {tenant: calls for tenant, calls in self._recent.items() if tenant in self._in_window}
        self._in_window.clear()

    def add(self, tenant: str, seconds: float) -> None:
        """Note a call that has ended."""
        self._recent.setdefault(tenant, deque(maxlen=_REMEMBERED_CALLS)).append(seconds)
        self._in_window.add(tenant)

    def fits(self, tenant: str, seconds: float) -> bool:
        """Tell whether a tenant's call that starts now may be expected to end within these seconds."""
        slowest = max(self._recent[tenant]) if tenant in self._in_window else 0.0
        return seconds >= max(slowest, SHORTEST_CALL_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()
