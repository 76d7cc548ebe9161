"""openai-python: a call whose connection dies is repeated by the SDK, and paid once."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from urllib.parse import urlsplit

import openai
import pytest

from tests.sdk.python.support import LONG, MODEL, SHORT_HOPS, say

MOMENT_SECONDS = 60
"""How long the proxy waits for the moment, at most: a call that has failed must not hang."""


class FailingProxy:
    """Forward connections on loopback, and end the first ones while the call is held.

    `drops` is the number of connections to end; `moment` returns whether it is time to do so.
    """

    def __init__(self, target: tuple[str, int], *, drops: int, moment: Callable[[], bool]) -> None:
        self._target = target
        self._moment = moment
        self._drops = drops
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.dropped = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=[connection], daemon=True).start()

    def _forward(self, connection: socket.socket) -> None:
        is_dropped, self._drops = self._drops > 0, self._drops - 1
        with closing(connection), closing(socket.create_connection(self._target)) as upstream:
            threading.Thread(target=self._copy, args=[connection, upstream], daemon=True).start()
            if not is_dropped:
                self._copy(upstream, connection)
                return
            end = time.monotonic() + MOMENT_SECONDS
            while not self._moment() and time.monotonic() < end:
                time.sleep(0.02)
            self.dropped += 1
            connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # one of them is closed
            while received := source.recv(65_536):
                target.sendall(received)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(prompt: str, calls: Callable[[str], int]) -> Iterator[FailingProxy]:
    """End the first connection once the model has the prompt."""
    address = urlsplit(os.environ["OPENAI_BASE_URL"])
    assert address.hostname is not None
    assert address.port is not None
    with closing(
        FailingProxy((address.hostname, address.port), drops=1, moment=lambda: calls(prompt + LONG) > 0)
    ) as proxy:
        yield proxy


def test_a_connection_that_dies_in_mid_hold_is_paid_once(
    proxy: FailingProxy, prompt: str, calls: Callable[[str], int]
) -> None:
    url = os.environ["OPENAI_BASE_URL"].replace(str(urlsplit(os.environ["OPENAI_BASE_URL"]).port), str(proxy.port))

    with openai.OpenAI(base_url=url) as client:
        response = client.chat.completions.with_raw_response.create(model=MODEL, messages=say(prompt + LONG))

    assert response.parse().choices[0].message.content
    assert proxy.dropped == 1
    assert response.http_response.request.headers["x-stainless-retry-count"] == "1"
    assert calls(prompt + LONG) == 1


def test_a_client_that_gives_up_and_repeats_its_call_joins_it(
    client: openai.OpenAI, prompt: str, calls: Callable[[str], int]
) -> None:
    hasty = client.with_options(timeout=1.5, max_retries=10)

    response = hasty.chat.completions.with_raw_response.create(model=MODEL, messages=say(prompt + LONG))

    assert response.parse().choices[0].message.content
    assert int(response.http_response.request.headers["x-stainless-retry-count"]) >= 1
    assert calls(prompt + LONG) == 1


def test_two_calls_with_the_same_body_are_two_tasks(
    client: openai.OpenAI, prompt: str, calls: Callable[[str], int]
) -> None:
    first, second = (
        client.chat.completions.create(model=MODEL, messages=say(prompt), extra_headers=SHORT_HOPS) for _ in range(2)
    )

    assert first.id != second.id
    assert calls(prompt) == 2
