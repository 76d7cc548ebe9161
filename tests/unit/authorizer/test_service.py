"""A key is known by its digest, and a list that cannot be read lets nobody in."""

import hashlib
from collections.abc import Mapping

import pytest

from functions.authorizer.service import REFETCH_SECONDS, Doorkeeper, KeysUnavailable


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
def doorkeeper(keys: FakeKeyList, clock: Clock) -> Doorkeeper:
    return Doorkeeper(keys, clock=clock)


@pytest.mark.parametrize("header", ["Bearer local", "bearer local", "BEARER  local", " Bearer local "])
def test_a_known_key_is_its_tenants(doorkeeper: Doorkeeper, header: str) -> None:
    assert doorkeeper.tenant_of(header) == "acme"


@pytest.mark.parametrize(
    "header",
    [
        *("", "local", "Basic local", "Bearer", "Bearer ", "Bearer other", "Bearer local x"),
        *("Bearer lo\u00e9", "Bearer a\nb", "Bearer " + "x" * 5_000, "Bearer " + digest("local")),
    ],
)
def test_anything_else_is_nobodys(doorkeeper: Doorkeeper, header: str) -> None:
    assert doorkeeper.tenant_of(header) is None


def test_a_new_key_works_at_once(doorkeeper: Doorkeeper, keys: FakeKeyList) -> None:
    keys.entries[digest("new")] = {"tenant": "newcomer"}

    assert doorkeeper.tenant_of("Bearer new") == "newcomer"


def test_guessing_keys_does_not_fetch_the_list_each_time(
    doorkeeper: Doorkeeper, keys: FakeKeyList, clock: Clock
) -> None:
    for guess in range(50):
        assert doorkeeper.tenant_of(f"Bearer {guess}") is None
    assert keys.fetches == 1

    clock.now += REFETCH_SECONDS
    doorkeeper.tenant_of("Bearer guess")

    assert keys.fetches == 2


def test_an_entry_may_say_more_than_its_tenant() -> None:
    entry = {"tenant": "acme", "id": "1f9d6c1e", "created_at": "2026-11-21T10:00:00Z", "models": ["small"]}

    assert Doorkeeper(FakeKeyList({digest("local"): entry}), clock=Clock()).tenant_of("Bearer local") == "acme"


def test_a_known_key_fetches_nothing(doorkeeper: Doorkeeper, keys: FakeKeyList) -> None:
    doorkeeper.tenant_of("Bearer local")

    assert keys.fetches == 0


def test_a_list_that_cannot_be_read_lets_nobody_in_and_refuses_nobody(
    doorkeeper: Doorkeeper, keys: FakeKeyList
) -> None:
    keys.is_down = True

    with pytest.raises(KeysUnavailable):
        doorkeeper.tenant_of("Bearer local")


@pytest.mark.parametrize(
    "entry", [{}, {"tenant": ""}, {"tenant": "{a}"}, {"tenant": "A"}, {"tenant": 1}, "acme", ["acme"]]
)
def test_an_entry_without_a_tenant_lets_nobody_in(entry: object) -> None:
    with pytest.raises(KeysUnavailable):
        Doorkeeper(FakeKeyList({digest("local"): entry}), clock=Clock()).tenant_of("Bearer local")
