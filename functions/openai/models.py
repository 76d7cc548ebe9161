"""GET /models, /models/{model}: what the caller's key may use."""

from collections.abc import Sequence
from typing import Any, Final

from common.api.auth_context import Caller
from common.domain.errors import NotFound

CREATED: Final = 1_764_547_200
"""1 December 2025, the same for every model: OpenAI's field says when a model was made, which no setting knows."""

OWNER: Final = "sluice"


def list_models(caller: Caller, allowed: Sequence[str]) -> dict[str, Any]:
    """Show the allowed models that the caller's key may use."""
    return {"object": "list", "data": [_model(name) for name in _usable(caller, allowed)]}


def retrieve_model(caller: Caller, allowed: Sequence[str], name: str) -> dict[str, Any]:
    """Show one of these models.

    Raises:
        NotFound: it is none of them.

    """
    if name not in _usable(caller, allowed):
        raise NotFound("there is no such model, or this key may not use it", code="model_not_found", pointer="/model")
    return _model(name)


def _usable(caller: Caller, allowed: Sequence[str]) -> list[str]:
    return [name for name in allowed if caller.models is None or name in caller.models]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": OWNER}
