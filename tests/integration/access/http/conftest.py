"""The functions behind the API, each as its own user of the cache."""

from collections.abc import Iterator
from types import ModuleType

import pytest

from common.runtime.settings import RedisSettings
from tests.integration.access.users import Restricted, restricted_valkey, user_of
from tests.integration.http import conftest as http
from tests.integration.http.conftest import api, aws, environment, queue, webhooks, workflow_queue
from tests.invocation import started

__all__ = ["api", "aws", "environment", "queue", "webhooks", "workflow_queue"]


@pytest.fixture(scope="session", params=[True, False], ids=["cluster", "single"])
def restricted(request: pytest.FixtureRequest) -> Iterator[Restricted]:
    with restricted_valkey(cluster=request.param) as running:
        yield running


@pytest.fixture
def redis(restricted: Restricted, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisSettings]:
    """Start each function as its user, and allow no denial, be it one that the function takes for an outage."""

    def started_as_its_user(function: str) -> ModuleType:
        monkeypatch.setenv("REDIS_USERNAME", user_of(function))
        return started(function)

    monkeypatch.setattr(http, "started", started_as_its_user)
    with restricted.denying_nothing():
        yield restricted.settings
