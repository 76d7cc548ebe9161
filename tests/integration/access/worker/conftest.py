"""The worker, as its own user of the cache."""

import pytest

from tests.integration.access.users import as_its_user, restricted, user_of, valkey
from tests.integration.worker.conftest import aws, environment, line, model, worker_settings

__all__ = ["as_its_user", "aws", "environment", "line", "model", "restricted", "valkey", "worker_settings"]


@pytest.fixture
def user() -> str:
    return user_of("worker")
