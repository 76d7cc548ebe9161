"""Hold what the params of all kinds share: the names that no caller may set, and the rules of tools and tiers.

Some providers match the names of params without regard to case or underscores: they would obey `Stream` or
`serviceTier`, which a check by the exact name accepts. Names are compared in one canonical form, and only the
documented spelling is accepted.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from common.api.json_body import pointer_to
from common.domain.errors import InvalidRequest
from common.domain.task import ToolKind

PRICED_TIERS: Final = ("auto", "default")
"""The service tiers that the price table knows: it has one price a model."""

MOST_TOOLS: Final = 128
"""Tools of one request, at most: OpenAI's own limit."""

_SDK: Final = "is not a parameter of the model"
_FEE: Final = "makes the provider search, at a fee that `usage` does not report and this service cannot price"
_ONE_MODEL: Final = "names other models; set one `model`"

RESERVED: Final[Mapping[str, str]] = {
    # The model's client would take these for itself: a header of the caller's could replace our key.
    "extra_headers": _SDK,
    "extra_query": _SDK,
    "extra_body": _SDK,
    "timeout": _SDK,
    # Of several providers: OpenAI, xAI, Qwen and OpenRouter.
    "web_search_options": _FEE,
    "search_parameters": _FEE,
    "enable_search": _FEE,
    "plugins": _FEE,
    # Of routers such as OpenRouter and LiteLLM: they lead past the models that a key may ask, and past their prices.
    "models": _ONE_MODEL,
    "fallbacks": _ONE_MODEL,
}
"""The params that no request may have, and why."""


class ParamNames:
    """Check the names of the params of one kind."""

    def __init__(self, known: Iterable[str], reserved: Mapping[str, str]) -> None:
        """Take the documented names, and those that a caller may not set with the reason of each."""
        self._reserved = reserved
        self._spellings = {canonical(name): name for name in (*known, *reserved)}

    def check(self, names: Iterable[str], place: str, allowed: Collection[str] = ()) -> None:
        """Check names; `place` is the JSON pointer of their object, `allowed` are reserved names that are accepted.

        Raises:
            InvalidRequest: the first name that is reserved, or that is a known one in another spelling.

        """
        for name in names:
            known = self._spellings.get(canonical(name), name)
            if known in self._reserved and known not in allowed:
                raise InvalidRequest(self._reserved[known], pointer=pointer_to(place, name), code="reserved_param")
            if known != name:
                raise InvalidRequest(
                    f"is {known} in another spelling; write {known}",
                    pointer=pointer_to(place, name),
                    code="invalid_value",
                )


def canonical(name: str) -> str:
    """Fold the case, width, underscores and spaces of a name, and whatever else is neither a letter nor a digit."""
    text = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return "".join(each for each in text.casefold() if each.isalnum())


def check_tier(params: Mapping[str, Any], place: str) -> None:
    """Refuse a service tier that has no price; `place` is the JSON pointer of the params."""
    tier = params.get("service_tier")
    if isinstance(tier, str) and tier not in PRICED_TIERS:
        raise InvalidRequest(
            f"must be {' or '.join(PRICED_TIERS)}: this service has no prices of other tiers",
            pointer=f"{place}/service_tier",
            code="unpriced_param",
        )


def check_tools(tools: Iterable[Mapping[str, Any]], place: str) -> None:
    """Refuse tools that the provider runs; `place` is the JSON pointer of the list."""
    for index, tool in enumerate(tools):
        for name, kind in tool.items():
            if canonical(name) == "type" and not (isinstance(kind, str) and kind in set(ToolKind)):
                raise InvalidRequest(
                    f"must be {' or '.join(ToolKind)}: "
                    "the provider runs other tools at a fee that `usage` does not report",
                    pointer=pointer_to(f"{place}/{index}", name),
                    code="unpriced_param",
                )


def without_nulls(body: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    """Return the fields of a body that have a value, without those that Sluice ignores."""
    return {name: value for name, value in body.items() if value is not None and name not in ignored}
