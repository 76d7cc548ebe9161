"""Offer each store under test as `harness`."""

from collections.abc import AsyncIterator

import pytest

from common.store.script_batching import BatchingScripts
from common.store.scripts import Scripts
from tests.integration.store.harness import (
    FakeHarness,
    Harness,
    TwiceScripts,
    scripts_on_test_time,
    valkey_harness,
)
from tests.valkey import valkey, valkey_cluster

__all__ = ["valkey", "valkey_cluster"]


KINDS = {"valkey_twice": TwiceScripts, "valkey_gathered": BatchingScripts}


@pytest.fixture(params=["fake", "valkey", "valkey_cluster", "valkey_twice", "valkey_gathered"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Run the test on the fake, a server, a cluster, a server that gets every call twice, and one that gets trips."""
    if request.param == "fake":
        yield FakeHarness()
        return
    scripts = KINDS.get(request.param, Scripts)(scripts_on_test_time())
    settings = request.getfixturevalue("valkey_cluster" if request.param == "valkey_cluster" else "valkey")
    async with valkey_harness(settings, scripts) as opened:
        yield opened
