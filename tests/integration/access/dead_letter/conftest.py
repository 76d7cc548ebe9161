"""The dead-letter function, as its own user of the cache."""

from collections.abc import Iterator

import pytest

from common.settings import RedisSettings
from tests.integration.access.users import Restricted, restricted_valkey, user_of


@pytest.fixture(scope="session")
def restricted() -> Iterator[Restricted]:
    with restricted_valkey(cluster=False) as running:
        yield running


@pytest.fixture(autouse=True)
def as_its_user(restricted: Restricted, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_USERNAME", user_of("dead_letter"))
    restricted.forget()
    yield
    assert restricted.denied() == set()


@pytest.fixture(scope="session")
def valkey(restricted: Restricted) -> RedisSettings:
    return restricted.settings
