"""Test that a key is found by its digest, and that an unreadable list denies all keys."""

import hashlib
from collections.abc import Mapping

import pytest

from common.api.auth_context import Caller
from common.domain.budgets import Budgets
from functions.authorizer.service import REFETCH_SECONDS, Authenticator, KeysUnavailable, digest_of


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class FakeKeyList:
    """A list whose kept copy is as old as its last fresh reading."""

    def __init__(self, entries: Mapping[str, object]) -> None:
        self.entries: dict[str, object] = dict(entries)
        self.kept = dict(entries)
        self.fetches = 0
        self.is_down = False

    def read(self, *, fresh: bool) -> Mapping[str, object]:
        if self.is_down:
            raise KeysUnavailable
        if fresh:
            self.fetches += 1
            self.kept = dict(self.entries)
        return self.kept


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys() -> FakeKeyList:
    return FakeKeyList({digest("local"): {"tenant": "acme"}})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(keys: FakeKeyList, clock: Clock) -> Authenticator:
    return Authenticator(keys, digest_of, clock=clock)


@pytest.mark.parametrize("header", ["Bearer local", "bearer local", "BEARER  local", " Bearer local "])
def test_a_known_key_is_its_tenants(authenticator: Authenticator, header: str) -> None:
    assert authenticator.caller_of(header) == Caller("acme")


@pytest.mark.parametrize(
    "header",
    [
        *("", "local", "Basic local", "Bearer", "Bearer ", "Bearer other", "Bearer local x"),
        *("Bearer lo\u00e9", "Bearer a\nb", "Bearer " + "x" * 5_000, "Bearer " + digest("local")),
    ],
)
def test_anything_else_is_nobodys(authenticator: Authenticator, header: str) -> None:
    assert authenticator.caller_of(header) is None


def test_a_new_key_works_at_once(authenticator: Authenticator, keys: FakeKeyList) -> None:
    keys.entries[digest("new")] = {"tenant": "newcomer"}

    assert authenticator.caller_of("Bearer new") == Caller("newcomer")


def test_guessing_keys_does_not_fetch_the_list_each_time(
    authenticator: Authenticator, keys: FakeKeyList, clock: Clock
) -> None:
    for guess in range(50):
        assert authenticator.caller_of(f"Bearer {guess}") is None
    assert keys.fetches == 1

    clock.now += REFETCH_SECONDS
    authenticator.caller_of("Bearer guess")

    assert keys.fetches == 2


def test_an_entry_may_say_more_than_its_tenant() -> None:
    entry = {"tenant": "acme", "id": "1f9d6c1e", "created_at": "2026-11-21T10:00:00Z", "note": "mine"}

    assert Authenticator(FakeKeyList({digest("local"): entry}), digest_of, clock=Clock()).caller_of(
        "Bearer local"
    ) == Caller("acme")


def test_a_known_key_fetches_nothing(authenticator: Authenticator, keys: FakeKeyList) -> None:
    authenticator.caller_of("Bearer local")

    assert keys.fetches == 0


def test_a_list_that_cannot_be_read_lets_nobody_in_and_refuses_nobody(
    authenticator: Authenticator, keys: FakeKeyList
) -> None:
    keys.is_down = True

    with pytest.raises(KeysUnavailable):
        authenticator.caller_of("Bearer local")


@pytest.mark.parametrize(
    "entry", [{}, {"tenant": ""}, {"tenant": "{a}"}, {"tenant": "A"}, {"tenant": 1}, "acme", ["acme"]]
)
def test_an_entry_without_a_tenant_lets_nobody_in(entry: object) -> None:
    with pytest.raises(KeysUnavailable):
        Authenticator(FakeKeyList({digest("local"): entry}), digest_of, clock=Clock()).caller_of("Bearer local")


ALLOWED = {"tenant": "acme", "models": ["small", "tiny"]}


def test_a_key_may_ask_the_models_of_its_entry(clock: Clock) -> None:
    keys = FakeKeyList({digest("local"): ALLOWED, digest("other"): {"tenant": "acme"}})
    authenticator = Authenticator(keys, digest_of, clock=clock)

    assert authenticator.caller_of("Bearer local") == Caller("acme", ("small", "tiny"))
    assert authenticator.caller_of("Bearer other") == Caller("acme")


def test_a_tenants_budgets_are_the_lowest_of_all_its_keys(clock: Clock) -> None:
    keys = FakeKeyList(
        {
            digest("one"): {"tenant": "acme", "budgets": {"requests": 10, "usd": "1.50"}},
            digest("two"): {"tenant": "acme", "budgets": {"requests": 20, "tokens": 500, "usd": 1}},
            digest("none"): {"tenant": "acme"},
            digest("rival"): {"tenant": "rival", "budgets": {"requests": 1}},
        }
    )
    authenticator = Authenticator(keys, digest_of, clock=clock)

    for key in ("one", "two", "none"):
        assert authenticator.caller_of(f"Bearer {key}") == Caller("acme", None, Budgets(10, 500, 10**9))
    assert authenticator.caller_of("Bearer rival") == Caller("rival", None, Budgets(1))


@pytest.mark.parametrize(
    "flaw",
    [
        {"budgets": None},
        {"budgets": {}},
        {"budgets": []},
        {"budgets": {"euros": 3}},
        {"budgets": {"usd": "free"}},
        {"budgets": {"usd": "NaN"}},
        {"budgets": {"usd": "Infinity"}},
        {"budgets": {"usd": -1}},
        {"budgets": {"usd": "0.0000000001"}},
        {"budgets": {"usd": True}},
        {"budgets": {"tokens": "many"}},
        {"budgets": {"tokens": "1000"}},
        {"budgets": {"tokens": 1.5}},
        {"budgets": {"requests": None}},
        {"budgets": {"requests": 10**16}},
    ],
)
def test_where_a_budget_cannot_be_read_nobody_of_the_tenant_passes(clock: Clock, flaw: Mapping[str, object]) -> None:
    keys = FakeKeyList(
        {digest("one"): {"tenant": "acme"}, digest("two"): {"tenant": "acme", **flaw}, digest("r"): {"tenant": "r"}}
    )
    authenticator = Authenticator(keys, digest_of, clock=clock)

    for key in ("one", "two"):
        with pytest.raises(KeysUnavailable, match="tenant acme"):
            authenticator.caller_of(f"Bearer {key}")
    assert authenticator.caller_of("Bearer r") == Caller("r")


@pytest.mark.parametrize("models", [None, [], "small", [1], [""], {"small": 1}])
def test_models_that_cannot_be_read_let_nobody_in(clock: Clock, models: object) -> None:
    with pytest.raises(KeysUnavailable, match="models"):
        Authenticator(FakeKeyList({digest("local"): {**ALLOWED, "models": models}}), digest_of, clock=clock).caller_of(
            "Bearer local"
        )
