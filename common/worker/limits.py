"""Read the operator's limits, and what the provider says of its own in the headers of an answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from common.domain.errors import SettingError
from common.domain.rate_limits import NO_LIMIT, Limit
from common.runtime.settings import Environment, number, optional_text

MOST_PER_MINUTE: Final = 10**9

_ENTRY: Final = re.compile(r"(?P<model>[^=,\s]+)=(?P<requests>[1-9][0-9]{0,8})?/(?P<tokens>[1-9][0-9]{0,8})?")
_ANY_MODEL: Final = "*"
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class RateLimitSettings:
    """Hold what all workers together may do. By default nothing is limited."""

    of_model: Mapping[str, Limit]
    of_tenant: Limit = NO_LIMIT
    tenant_in_flight: int = 0
    """Model calls of one tenant at a time; 0 is no limit."""

    @classmethod
    def from_env(cls, env: Environment) -> "RateLimitSettings":
        """Read MODEL_LIMITS, TENANT_REQUESTS_PER_MINUTE, TENANT_TOKENS_PER_MINUTE and TENANT_IN_FLIGHT.

        Raises:
            SettingError: one of them is wrong; it has the name.

        """
        return cls(
            of_model=_model_limits("MODEL_LIMITS", optional_text(env, "MODEL_LIMITS") or ""),
            of_tenant=Limit(
                number(env, "TENANT_REQUESTS_PER_MINUTE", least=0, most=MOST_PER_MINUTE, default=0),
                number(env, "TENANT_TOKENS_PER_MINUTE", least=0, most=MOST_PER_MINUTE, default=0),
            ),
            tenant_in_flight=number(env, "TENANT_IN_FLIGHT", least=0, most=MOST_PER_MINUTE, default=0),
        )

    def of(self, model: str) -> Limit:
        """Return a model's own limit, or the one of every model that has none."""
        return self.of_model.get(model) or self.of_model.get(_ANY_MODEL, NO_LIMIT)


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """Hold what an answer's headers say: limits a minute, and the seconds until something is left of one used up."""

    limit: Limit
    request_wait: float = 0.0
    token_wait: float = 0.0

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "ProviderLimits | None":
        """Read the `x-ratelimit-*` headers, looked up in lower case; None where there are none."""
        limit = Limit(_count(headers, "limit-requests") or 0, _count(headers, "limit-tokens") or 0)
        waits = [_wait(headers, "requests"), _wait(headers, "tokens")]
        return cls(limit, *waits) if limit != NO_LIMIT or any(waits) else None


def _model_limits(name: str, value: str) -> dict[str, Limit]:
    limits: dict[str, Limit] = {}
    for entry in filter(None, map(str.strip, value.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None or match["model"] in limits:
            raise SettingError(name, "must list each model once, as in gpt-5-mini=500/200000,*=60/ (requests/tokens)")
        limits[match["model"]] = Limit(int(match["requests"] or 0), int(match["tokens"] or 0))
    return limits


def _count(headers: Mapping[str, str], what: str) -> int | None:
    text = headers.get(f"x-ratelimit-{what}", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(MOST_PER_MINUTE)) else None


def _wait(headers: Mapping[str, str], what: str) -> float:
    if _count(headers, f"remaining-{what}") != 0:
        return 0.0
    # As in 6m0s, 1.5s or 20ms.
    parts = _DURATION_PART.findall(headers.get(f"x-ratelimit-reset-{what}", ""))
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
