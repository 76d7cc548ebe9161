"""Add up what the model calls of one attempt have cost, until that is in the sums."""

from common.domain.errors import ModelError
from common.domain.spending import NO_CHARGE, Charge
from common.domain.transitions import CallReport


class Bill:
    """Add up what the calls of one attempt have cost, as long as that is in no sums."""

    def __init__(self) -> None:
        self.charge = NO_CHARGE
        self.text: str | None = None
        """The text of a call that ended without an answer, where the caller is to see it."""
        self._last = NO_CHARGE

    def add(self, charge: Charge) -> None:
        """Take what one call has cost."""
        self.charge += charge
        self._last = charge

    def report(self, error: ModelError) -> CallReport:
        """Return what the provider reported of the call that ended with this error."""
        if error.usage is None or error.usage != self._last.usage:
            return CallReport(error=error.provider_error, text=self.text)
        return CallReport(error.usage, self._last.cost_nanos, error.provider_error, self.text)

    def settle(self) -> None:
        """Forget what is in the sums by now."""
        self.charge = NO_CHARGE
