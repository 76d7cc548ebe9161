"""The dead-letter function, as its own user of the cache."""

import pytest

from tests.integration.access.users import as_its_user, restricted, user_of, valkey
from tests.integration.dead_letter.conftest import handler, settings

__all__ = ["as_its_user", "handler", "restricted", "settings", "valkey"]


@pytest.fixture
def user() -> str:
    return user_of("dead_letter")
