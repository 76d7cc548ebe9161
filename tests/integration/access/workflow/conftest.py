"""The workflow worker, as its own user of the cache."""

import pytest

from tests.integration.access.users import as_its_user, restricted, user_of, valkey
from tests.integration.workflow.conftest import aws, line, model, start, worker_settings

__all__ = ["as_its_user", "aws", "line", "model", "restricted", "start", "valkey", "worker_settings"]


@pytest.fixture
def user() -> str:
    return user_of("workflow")
