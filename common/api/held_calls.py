"""Define the limits of held calls, per tenant and in total. Standard library only.

A held call occupies one Lambda environment for up to 25 seconds.
"""

from dataclasses import dataclass
from typing import Final

from common.domain.errors import SettingError
from common.runtime.settings import Environment, number

MOST_HELD: Final = 10_000
"""More than any account's concurrency."""

DEFAULT_TENANT_HELD: Final = 20
DEFAULT_MOST_HELD: Final = 100
"""As in template.yaml: a tenth of the concurrency that an AWS account usually has."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """Limit the calls that are held at a time, of one tenant and in total; 0 is no limit."""

    tenant: int = DEFAULT_TENANT_HELD
    total: int = DEFAULT_MOST_HELD

    @classmethod
    def from_env(cls, env: Environment) -> "HoldLimits":
        """Read TENANT_HELD_CALLS, MAX_HELD_CALLS and API_CONCURRENCY.

        Raises:
            SettingError: one is wrong, or held calls could use up all that is reserved for a function.

        """
        limits = cls(
            tenant=number(env, "TENANT_HELD_CALLS", least=0, most=MOST_HELD, default=DEFAULT_TENANT_HELD),
            total=number(env, "MAX_HELD_CALLS", least=0, most=MOST_HELD, default=DEFAULT_MOST_HELD),
        )
        reserved = number(env, "API_CONCURRENCY", least=0, most=MOST_HELD, default=0)
        if reserved and not 0 < limits.total < reserved:
            raise SettingError("MAX_HELD_CALLS", f"must be from 1 to {reserved - 1}, as API_CONCURRENCY is {reserved}")
        return limits
