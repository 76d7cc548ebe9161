"""Check the `params` of a call or a prompt: names that Sluice keeps for itself, and what the price table can't price.

Some providers match names without regard to case or underscores: they would obey `N` or `serviceTier`, which a check by
the exact name lets pass. Names are compared in one canonical form, and only the documented spelling is taken.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from common.domain.errors import InvalidRequest
from common.domain.task import ToolKind
from functions.submit.body import pointer_to
from functions.submit.conversion import converted
from functions.submit.schema import PRICED_TIERS, RESERVED_PARAMS, KnownParams


def check_params(params: dict[str, Any], place: str) -> None:
    """Check the params of one call or prompt; `place` is the JSON pointer of what has them.

    Raises:
        InvalidRequest: the first param that breaks a rule, and the rule.

    """
    place = f"{place}/params"
    for name in params:
        _check_name(name, place)
    tier = params.get("service_tier")
    if isinstance(tier, str) and tier not in PRICED_TIERS:
        raise InvalidRequest(
            f"must be {' or '.join(PRICED_TIERS)}: this service has no prices of other tiers",
            pointer=f"{place}/service_tier",
            code="unpriced_param",
        )
    converted(params, KnownParams, place)
    for index, tool in enumerate(params.get("tools") or []):
        _check_tool(tool, f"{place}/tools/{index}")


def _check_name(name: str, place: str) -> None:
    known = _SPELLINGS.get(_canonical(name), name)
    if known in RESERVED_PARAMS:
        raise InvalidRequest(RESERVED_PARAMS[known], pointer=pointer_to(place, name), code="reserved_param")
    if known != name:
        raise InvalidRequest(
            f"is {known} in another spelling; write {known}", pointer=pointer_to(place, name), code="invalid_value"
        )


def _check_tool(tool: Mapping[str, Any], place: str) -> None:
    for name, kind in tool.items():
        if _canonical(name) == "type" and not (isinstance(kind, str) and kind in set(ToolKind)):
            raise InvalidRequest(
                f"must be {' or '.join(ToolKind)}: the provider runs other tools itself, at a fee that is in no usage",
                pointer=pointer_to(place, name),
                code="unpriced_param",
            )


def _canonical(name: str) -> str:
    """Fold the case, width, underscores and spaces of a name, and whatever else is neither a letter nor a digit."""
    text = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return "".join(each for each in text.casefold() if each.isalnum())


_SPELLINGS: Final = {_canonical(name): name for name in (*KnownParams.__struct_fields__, *RESERVED_PARAMS)}
