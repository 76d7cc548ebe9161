"""The client against a service that does as told; both clients go through the same tests."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from sluice import AsyncSluice, Retry, Sluice
from tests.client.service import KEY, Service, serving

PLAIN = ssl.create_default_context()
"""Made once: reading the certificates takes longer than a test."""


class Time:
    """A clock that only sleeping moves; `slept` is how long each time, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        self.interrupt: BaseException | None = None
        """Raised by the next sleep."""
        self.interrupt_at: float | None = None
        """The time from which a sleep raises RuntimeError."""

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if self.interrupt:
            raise self.interrupt
        if self.interrupt_at is not None and self.now >= self.interrupt_at:
            raise RuntimeError("interrupted")
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_soon(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)


class Blocking:
    """Calls of Sluice by name."""

    def __init__(self, url: str, time: Time, **settings: Any) -> None:
        http = httpx2.Client(trust_env=False, verify=PLAIN)
        self._http = http
        self.sluice = Sluice(url, KEY, http=http, clock=time.clock, sleep=time.sleep, **settings)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.sluice, name)(*args, **kwargs)

    def iterate(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from getattr(self.sluice, name)(*args, **kwargs)

    def close(self) -> None:
        self.sluice.close()
        self._http.close()


class Asynchronous:
    """The same of AsyncSluice, each step of a loop of its own."""

    def __init__(self, url: str, time: Time, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._open: list[AsyncGenerator[Any]] = []
        self._http = httpx2.AsyncClient(trust_env=False, verify=PLAIN)
        self.sluice = AsyncSluice(url, KEY, http=self._http, clock=time.clock, sleep=time.sleep_soon, **settings)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        async def called() -> Any:
            return await getattr(self.sluice, name)(*args, **kwargs)

        return self._runner.run(called())

    def iterate(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        iteration = getattr(self.sluice, name)(*args, **kwargs)
        self._open.append(iteration)

        async def following() -> Any:
            return await anext(iteration)

        try:
            while True:
                try:
                    yield self._runner.run(following())
                except StopAsyncIteration:
                    return
        finally:
            self._end(iteration)

    def _end(self, iteration: AsyncGenerator[Any]) -> None:
        if iteration in self._open:
            self._open.remove(iteration)
            self._runner.run(iteration.aclose())

    def close(self) -> None:
        for iteration in [*self._open]:
            self._end(iteration)
        self._runner.run(self._http.aclose())
        self._runner.close()


type Caller = Blocking | Asynchronous
type MakeCaller = Callable[..., Caller]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as served:
        yield served


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def retries() -> list[Retry]:
    return []


@pytest.fixture(params=[Blocking, Asynchronous], ids=["blocking", "asyncio"])
def make_caller(request: pytest.FixtureRequest, time: Time) -> Iterator[MakeCaller]:
    made: list[Caller] = []

    def make(url: str, **settings: Any) -> Caller:
        made.append(request.param(url, time, **settings))
        return made[-1]

    yield make
    for caller in made:
        caller.close()


@pytest.fixture
def caller(make_caller: MakeCaller, service: Service, retries: list[Retry]) -> Caller:
    return make_caller(service.url, on_retry=retries.append)
