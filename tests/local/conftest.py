"""Fixtures for this folder: a client of the shared stack, and signals for started processes."""

import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.local_stack import KEY, Up


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let what is started hear SIGINT: a shell has its background jobs ignore it, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def api(stack: Up) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, headers=KEY, timeout=60, trust_env=False) as client:
        yield client
