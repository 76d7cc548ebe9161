"""The workflow worker, as its own user of the cache."""

from collections.abc import Iterator

import pytest

from common.settings import RedisSettings
from tests.integration.access.users import Restricted, restricted_valkey, user_of
from tests.integration.workflow.conftest import aws, model, start, worker_settings

__all__ = ["aws", "model", "start", "worker_settings"]


@pytest.fixture(scope="session")
def restricted() -> Iterator[Restricted]:
    with restricted_valkey(cluster=False) as running:
        yield running


@pytest.fixture(scope="session")
def valkey(restricted: Restricted) -> RedisSettings:
    return restricted.settings


@pytest.fixture(autouse=True)
def as_its_user(restricted: Restricted, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_USERNAME", user_of("workflow"))
    restricted.forget()
    yield
    assert restricted.denied() == set()
