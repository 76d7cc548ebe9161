"""Authenticate callers by the SHA-256 of their key or by their IAM principal; keys themselves are not stored."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from common.api.auth_context import Caller, CallerUnreadable, models_of
from common.domain.budgets import Budgets, BudgetsUnreadable
from common.domain.errors import SluiceError
from common.domain.tenant import is_tenant

REFETCH_SECONDS: Final = 10
"""An unknown key may be new, so the list is fetched again, at most this often: guessed keys must not cost calls."""

# RFC 6750: the scheme's name in any case, then one token.
_BEARER: Final = re.compile(r"bearer +([!-~]{1,4096})", re.IGNORECASE)


class KeysUnavailable(SluiceError):
    """The list of keys is unavailable or malformed: a request can be neither allowed nor denied."""


class CallerUnknown(SluiceError):
    """A token does not identify its sender."""


class KeyList(Protocol):
    """Read the list of keys."""

    def read(self, *, fresh: bool) -> Mapping[str, object]:
        """Return `{"<name of a caller>": {"tenant": "acme", "models"?: […], "budgets"?: {…}}}`.

        It may be some minutes old unless it must be fresh.

        Raises:
            KeysUnavailable: it cannot be read.

        """


def digest_of(key: str) -> str:
    """Return the name of a caller from its key. Digests are compared, so the timing reveals nothing about a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class Authenticator:
    """Authenticate requests by their Authorization header."""

    def __init__(self, keys: KeyList, name_of: Callable[[str], str], *, clock: Callable[[], float]) -> None:
        """Create it with the list of keys, the function from token to caller name, and a monotonic clock in seconds.

        `name_of` raises CallerUnknown or KeysUnavailable.
        """
        self._keys = keys
        self._name_of = name_of
        self._clock = clock
        self._fetched: float | None = None

    def caller_of(self, authorization: str) -> Caller | None:
        """Return the caller of a key; None for an unknown key.

        Raises:
            KeysUnavailable: the list of keys cannot be read.

        """
        match = _BEARER.fullmatch(authorization.strip())
        if match is None:
            return None
        try:
            name = self._name_of(match[1])
        except CallerUnknown:
            return None
        entries = self._keys.read(fresh=False)
        if name not in entries and self._may_refetch():
            entries = self._keys.read(fresh=True)
        entry = entries.get(name)
        if entry is None:
            return None
        tenant = entry.get("tenant") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not is_tenant(tenant):
            raise KeysUnavailable("an entry of the secret has no tenant of 1 to 64 characters from a-z, 0-9 and -")
        return Caller(str(tenant), _models(entry), _budgets(str(tenant), entries))

    def _may_refetch(self) -> bool:
        now = self._clock()
        if self._fetched is not None and now - self._fetched < REFETCH_SECONDS:
            return False
        self._fetched = now
        return True


def _models(entry: Mapping[str, object]) -> tuple[str, ...] | None:
    if "models" not in entry:
        return None
    try:
        return models_of(entry["models"])
    except CallerUnreadable:
        raise KeysUnavailable("an entry of the secret has `models` that are not a list of names") from None


def _budgets(tenant: str, entries: Mapping[str, object]) -> Budgets | None:
    """Return the lowest budgets that any key of the tenant has: budgets belong to the tenant, not to a key."""
    budgets: Budgets | None = None
    for entry in entries.values():
        if not isinstance(entry, Mapping) or entry.get("tenant") != tenant or "budgets" not in entry:
            continue
        try:
            found = Budgets.read(entry["budgets"])
        except BudgetsUnreadable as error:
            # `from None`, and only the kind: the entry is part of a secret.
            raise KeysUnavailable(f"an entry of tenant {tenant}: {error}") from None
        budgets = found if budgets is None else budgets.strictest(found)
    return budgets
