"""Test that without Redis the response is 503 and nothing is written or sent."""

import socket
from collections.abc import Iterator

import pytest

from common.runtime.settings import RedisSettings
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue


@pytest.fixture(params=[False, True], ids=["single", "cluster"])
def redis(request: pytest.FixtureRequest) -> Iterator[RedisSettings]:
    """Point at a port that is taken, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield RedisSettings("127.0.0.1", taken.getsockname()[1], tls=False, cluster=request.param, username=None)


def test_nothing_is_accepted_or_sent(api: Api, queue: Queue) -> None:
    for key in (None, "k"):
        answer = api.post({"prompts": ["a"]}, key=key)

        assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert queue.drain() == []


def test_a_bad_request_is_still_the_callers_fault(api: Api) -> None:
    assert api.post({"prompts": []}).status == 400


@pytest.mark.parametrize("url", [f"tasks/{'0' * 36}-0", f"tasks?task_ids={'0' * 36}-0", f"batches/{'0' * 36}"])
def test_a_known_or_unknown_task_is_a_503_and_never_a_404(api: Api, url: str) -> None:
    answer = api.get(url)

    assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("what", [f"tasks/{'0' * 36}-0", f"batches/{'0' * 36}"])
def test_nothing_is_said_to_be_cancelled(api: Api, what: str) -> None:
    answer = api.take_back(what)

    assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
