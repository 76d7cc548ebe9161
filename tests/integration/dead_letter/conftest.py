import secrets
from collections.abc import Iterator
from types import ModuleType

import pytest

from common.runtime.settings import RedisSettings
from tests.invocation import running_with_redis
from tests.valkey import redis_variables, valkey

__all__ = ["valkey"]


@pytest.fixture
def settings(valkey: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        "POWERTOOLS_SERVICE_NAME": f"dead_letter-{secrets.token_hex(4)}",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        **redis_variables(valkey),
        "WEBHOOK_QUEUE_URL": "https://sqs.test/webhooks",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def handler(settings: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    del settings
    with running_with_redis("dead_letter") as module:
        yield module
