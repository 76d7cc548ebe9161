"""Define the caller of a request: tenant, models and budgets. Standard library only.

The authorizer passes it to the functions in the context of the request, whose values are strings.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from common.domain.budgets import Budgets, BudgetsUnreadable
from common.domain.tenant import is_tenant


class CallerUnreadable(ValueError):
    """The context was not written by the authorizer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Hold a tenant, the models that its key allows (None for all models of the service), and its budgets."""

    tenant: str
    models: tuple[str, ...] | None = None
    budgets: Budgets | None = None

    def context(self) -> dict[str, str]:
        """Encode it as the authorizer's context."""
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
            CallerUnreadable: it is malformed.

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
