"""Divide the time of one invocation, on the clock of the running event loop.

    start ───────────────── stop_at ──────── writes_end ── hard_end ──── lease_end
      calls are started and    the cut ones    only the      Lambda      the latest end
      run to their end         are released    queue now     kills us    of any lease

No wait outlasts its part, so nothing has to be cancelled from outside, and no write is cut in the middle by a stop.

A lease is shorter than that, and renewed while its worker lives:

    claim ── renewed each second ──✝── longest_lease ── messages are visible ──▶ another worker claims
             messages hidden each beat, for half a lease longer than a lease
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
"""What a lease may last beyond the hard end: Lambda's kill is not instant."""

BEATS_A_LEASE: Final = 2
"""How often messages are hidden again in the time of a lease; each time for one beat longer than the lease lasts."""

SHORTEST_CALL_SECONDS: Final = 1.0
"""With less time than this until the soft stop no call is started, not even the first."""

_REMEMBERED_CALLS: Final = 20
"""How many recent calls tell how long the next may take."""


def margin_of(timeout_seconds: float) -> float:
    """Return the seconds before the hard end at which a function with this timeout stops its calls."""
    return min(MARGIN_SECONDS, timeout_seconds / MARGIN_PARTS)


@dataclass(frozen=True, slots=True)
class InvocationDeadlines:
    """Hold the borders of one invocation, in seconds of the event loop's clock."""

    stop_at: float
    writes_end: float
    hard_end: float
    longest_lease: float

    @classmethod
    def starting_now(
        cls, remaining_seconds: float, margin_seconds: float, longest_lease: float
    ) -> "InvocationDeadlines":
        """Compute the deadlines from now, with the time that Lambda says is left."""
        hard_end = _now() + remaining_seconds
        return cls(hard_end - margin_seconds, hard_end - margin_seconds * QUEUE_SHARE, hard_end, longest_lease)

    @property
    def seconds_to_stop(self) -> float:
        """Return how long a call may still run, in seconds."""
        return self.stop_at - _now()

    @property
    def lease_end(self) -> float:
        """Return when the last lease of this invocation is over, however often it was renewed."""
        return self.hard_end + LEASE_GRACE_SECONDS

    @property
    def lease_seconds(self) -> float:
        """Return how long a lease taken or renewed now lasts, and how long one taken earlier will last at most."""
        return min(self.longest_lease, self.lease_end - _now())

    @property
    def lease_ms(self) -> int:
        """Return the same in milliseconds, for the store."""
        return math.ceil(self.lease_seconds * 1000)

    @property
    def beat_seconds(self) -> float:
        """Return the time between two heartbeats, in seconds."""
        return self.longest_lease / BEATS_A_LEASE

    @property
    def hidden_seconds(self) -> float:
        """Return how long a heartbeat hides messages: when these return, the leases of a worker that died are over."""
        return min(self.longest_lease + self.beat_seconds, self.lease_end - _now())


class CallDurationEstimator:
    """Remember how long each tenant's calls take in this environment, and judge by the slowest whether one more fits.

    One tenant's slow calls say nothing of another's: they must not keep those from starting.
    """

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._in_window: set[str] = set()

    def start_invocation(self) -> None:
        """Begin an invocation. Its first calls may start whatever the past says, or none ever would again.

        Tenants that had no call in the last one are forgotten: they come and go.
        """
        self._recent = {tenant: calls for tenant, calls in self._recent.items() if tenant in self._in_window}
        self._in_window.clear()

    def record(self, tenant: str, seconds: float) -> None:
        """Note a call that has ended."""
        self._recent.setdefault(tenant, deque(maxlen=_REMEMBERED_CALLS)).append(seconds)
        self._in_window.add(tenant)

    def expects_to_finish_in(self, tenant: str, seconds: float) -> bool:
        """Return whether a tenant's call that starts now may be expected to end within these seconds."""
        slowest = max(self._recent[tenant]) if tenant in self._in_window else 0.0
        return seconds >= max(slowest, SHORTEST_CALL_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()
