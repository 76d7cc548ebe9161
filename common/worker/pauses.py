"""Know which pauses of one model an environment has heard of, and until when."""

from dataclasses import dataclass
from typing import Final

PAUSE_CACHE_SECONDS: Final = 1.0
"""How long the news counts that there is no pause."""


@dataclass(slots=True)
class _Pause:
    until: float = 0.0
    noted_at: float = float("-inf")
    clear_until: float = 0.0

    def note(self, now: float, seconds: float) -> None:
        self.noted_at = now
        self.until = max(self.until, now + seconds)
        self.clear_until = 0.0


class KnownPauses:
    """Keep the pause of each tenant that has calls here, and the one of all. Times are those of the event loop."""

    def __init__(self) -> None:
        self._shared = _Pause()
        self._tenants: dict[str | None, _Pause] = {}

    def note(self, now: float, seconds: float, tenant: str | None = None) -> None:
        """Take a pause that has begun: of one tenant, or of all."""
        if tenant is not None:
            self._of(tenant).note(now, seconds)
        elif seconds > 0:
            self._shared.note(now, seconds)
            for pause in self._tenants.values():
                pause.clear_until = 0.0

    def learn(self, tenant: str | None, asked_at: float, answered_at: float, seconds: float) -> None:
        """Take what the store says is left of a tenant's pause, that of all included.

        The store knows better, also how long an environment was frozen; but not what came up since it was asked.
        """
        if self._shared.noted_at <= asked_at:
            self._shared.until = 0.0
        pause = self._of(tenant)
        if pause.noted_at <= asked_at:
            pause.until = answered_at + seconds
            pause.clear_until = answered_at + (0 if seconds else PAUSE_CACHE_SECONDS)

    def forget(self, now: float) -> None:
        """Drop what is over: tenants come and go."""
        self._tenants = {
            tenant: pause for tenant, pause in self._tenants.items() if max(pause.until, pause.clear_until) > now
        }

    def until(self, tenant: str | None) -> float:
        """Return when the last pause ends that holds a tenant."""
        return max(self._shared.until, self._of(tenant).until)

    def are_known_to_be_over(self, tenant: str | None, now: float) -> bool:
        """Return whether the store has said a moment ago that nothing holds this tenant."""
        return now < self._of(tenant).clear_until

    def _of(self, tenant: str | None) -> _Pause:
        return self._tenants.setdefault(tenant, _Pause())
