"""Decide what becomes of a task that the provider refused for its rate."""

from dataclasses import dataclass
from typing import Final

from common.domain.rate_limits import RefusalCause
from common.domain.transitions import Claim
from common.worker.backoff import Backoff

MOST_REFUSALS: Final = 20
"""How often a task is refunded that the provider refuses for its rate while it lets three of four calls through. By
chance that happens to one task of a million millions. The waits double up to 15 minutes, so they last for more than an
hour, and limits are per minute. From then on such a refusal is an attempt."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Describe a refusal: the claim of its task, the receives of its message, its cause, and the wait that it names."""

    claim: Claim
    receives: int
    cause: RefusalCause
    retry_after: float | None

    @property
    def is_known(self) -> bool:
        """Return whether the provider let others through when it refused this task, now and before."""
        return self.cause is RefusalCause.TASK and self.claim.own_refusals > 0

    @property
    def is_refunded(self) -> bool:
        """Return whether it costs no attempt."""
        return self.cause is RefusalCause.MODEL or self.claim.own_refusals < MOST_REFUSALS

    def wait(self, backoff: Backoff) -> float:
        """Return the seconds until the next try. The task's own counts never start over, as its receives may."""
        times = self.receives
        if self.cause is RefusalCause.TASK:
            times = max(times, self.claim.own_refusals + 1)
        return max(backoff.after_receive(times, self.retry_after), backoff.after_refusal(self.claim.refusals + 1))
