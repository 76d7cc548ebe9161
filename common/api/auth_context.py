"""Say who calls and what that caller may. Standard library only.

Only the authorizer knows it, and tells the functions behind it in the request's context, where values are texts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from common.domain.budgets import Budgets, BudgetsUnreadable
from common.domain.tenant import is_tenant


class CallerUnreadable(ValueError):
    """The context is not one that the authorizer has written."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Name a tenant, the models that its key may ask (None for all that the service has), and its budgets."""

    tenant: str
    models: tuple[str, ...] | None = None
    budgets: Budgets | None = None

    def context(self) -> dict[str, str]:
        """Write it as the authorizer's context."""
        context = {"tenant": self.tenant}
        if self.models is not None:
            context["models"] = json.dumps(self.models)
        if self.budgets is not None:
            context["budgets"] = json.dumps(self.budgets.write())
        return context

    @classmethod
    def of(cls, context: Mapping[str, object]) -> "Caller":
        """Read the authorizer's context.

        Raises:
            CallerUnreadable: it is not one: nobody may be let through by mistake.

        """
        tenant, models, budgets = context.get("tenant"), context.get("models"), context.get("budgets")
        if not is_tenant(tenant):
            raise CallerUnreadable("the tenant")
        try:
            return cls(
                str(tenant),
                None if models is None else models_of(json.loads(str(models))),
                None if budgets is None else Budgets.read(json.loads(str(budgets))),
            )
        except (ValueError, BudgetsUnreadable):
            raise CallerUnreadable("models or budgets") from None


def models_of(value: object) -> tuple[str, ...]:
    """Read a list of models' names, at least one.

    Raises:
        CallerUnreadable: it is something else.

    """
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise CallerUnreadable("models")
    return tuple(value)
