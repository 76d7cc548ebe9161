"""Adapt how many calls an environment makes at a time, for each model and for each tenant of a model.

Additive increase, multiplicative decrease, as TCP does it. A tenant's failures shrink the tenant's own limit. The limit
that all tenants of a model share shrinks only while the calls of two tenants fail. Pure: times come in, a number comes
out.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from common.domain.message import TaskMessage
from common.domain.task import FailureCode
from common.kinds.registry import public_model

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

SHARED_TROUBLE: Final = 2
"""Tenants whose last calls failed that shrink the limit of all: one alone may send what fails at any rate."""


OVERLOAD_CODES: Final = frozenset({FailureCode.RATE_LIMITED, FailureCode.SERVER_ERROR, FailureCode.TIMEOUT})
"""Failures of a call that fewer calls at a time may cure."""


class Origin(NamedTuple):
    """Name the model and the tenant of a call."""

    model: str
    tenant: str

    @classmethod
    def of(cls, message: TaskMessage) -> "Origin":
        """Return where the call of a message comes from."""
        return cls(public_model(message.task.kind, message.task.model), message.task.ref.tenant)


class _Level:
    """Hold one number of calls in flight, between a least and a most; it starts at the most."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self.value = float(most)
        self.cut_at = float("-inf")

    def increase(self) -> None:
        """Grow: as many answers as it allows make room for one more."""
        self.value = min(self._most, self.value + 1 / self.value)

    def decrease(self, factor: float, started_at: float, now: float) -> None:
        """Shrink, unless the call started before the last decrease: it says nothing of what that has brought."""
        if started_at >= self.cut_at:
            self.value = max(self._least, self.value * factor)
            self.cut_at = now


@dataclass(slots=True)
class _Tenant:
    """Hold what is known of one tenant's calls of a model."""

    level: _Level
    recent: float | None = None
    usual: float | None = None

    def is_slow(self, first_token_seconds: float) -> bool:
        """Note a time to the first token, and tell whether these times are rising."""
        self.recent = _moved(self.recent, first_token_seconds, RECENT)
        self.usual = _moved(self.usual, first_token_seconds, USUAL)
        return self.recent > SLOW_FACTOR * self.usual


@dataclass(slots=True)
class _Model:
    """Hold what is known of the calls of one model."""

    shared: _Level
    tenants: dict[str, _Tenant] = field(default_factory=dict)
    in_trouble: set[str] = field(default_factory=set)
    """Tenants whose last call failed or was slow, since the shared limit shrank last."""


class AdaptiveConcurrency:
    """Adapt the number of calls in flight. A tenant's limit and its model's both start at the most."""

    def __init__(self, least: int, most: int) -> None:
        """Take the bounds of every limit; `most` is also the bound of all calls together."""
        self.most = most
        self._least = least
        self._models = defaultdict[str, _Model](lambda: _Model(_Level(least, most)))

    def of_model(self, model: str) -> int:
        """Return how many calls of a model may be in flight, for all tenants together."""
        return int(self._models[model].shared.value)

    def of_tenant(self, origin: Origin) -> int:
        """Return how many calls of a model may be in flight for one tenant."""
        return int(self._tenant(origin).level.value)

    def succeeded(self, origin: Origin, started_at: float, now: float, first_token_seconds: float) -> None:
        """Note an answered call, which makes room for more, unless answers have become slow to begin."""
        model, tenant = self._models[origin.model], self._tenant(origin)
        if tenant.is_slow(first_token_seconds):
            self._decrease(EASE, origin, started_at, now)
            return
        model.in_trouble.discard(origin.tenant)
        tenant.level.increase()
        model.shared.increase()

    def refused(self, origin: Origin, started_at: float, now: float) -> None:
        """Note a call that the provider refused or failed for lack of room: a 429, a 5xx or a timeout."""
        self._decrease(CUT, origin, started_at, now)

    def _decrease(self, factor: float, origin: Origin, started_at: float, now: float) -> None:
        self._tenant(origin).level.decrease(factor, started_at, now)
        model = self._models[origin.model]
        if started_at < model.shared.cut_at:
            return
        model.in_trouble.add(origin.tenant)
        if len(model.in_trouble) >= SHARED_TROUBLE:
            model.shared.decrease(factor, started_at, now)
            model.in_trouble.clear()

    def _tenant(self, origin: Origin) -> _Tenant:
        tenants = self._models[origin.model].tenants
        if origin.tenant not in tenants:
            tenants[origin.tenant] = _Tenant(_Level(self._least, self.most))
        return tenants[origin.tenant]


def _moved(average: float | None, value: float, weight: float) -> float:
    return value if average is None else average + weight * (value - average)
