"""The queue's adapter where it stands alone; with a real queue it is tested in tests/integration/worker."""

import pytest

from functions.worker.delivery import Delivery
from functions.worker.queue import RedeliveryQueue


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


async def test_a_queue_that_cannot_be_reached_is_told_and_not_raised() -> None:
    told: list[tuple[str, int]] = []
    queue = RedeliveryQueue("http://127.0.0.1:1/queue", lambda code, count: told.append((code, count)))

    await queue.put_back([(Delivery(str(n), "receipt", 1, ""), 1.0) for n in range(12)])

    await queue.close()
    assert sorted(told) == [("EndpointConnectionError", 2), ("EndpointConnectionError", 10)]
