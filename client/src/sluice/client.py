"""The two clients: the same calls, blocking or with asyncio.

Each call is written once, in Core and Flows; here it is only given a driver. The signatures and the descriptions are
theirs, and type checkers see them through the wrappers.
"""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Concatenate, Final, Self

import httpx2

from sluice.drivers import Address, Asyncio, Blocking
from sluice.effects import Flow, Operation
from sluice.flows import Flows
from sluice.retries import OnRetry

PATIENCE_SECONDS: Final = 60.0
"""For how long a call is repeated: a deployment, a failover or a lost network of a minute goes unnoticed."""


def _call[**P, T](call: Callable[Concatenate[Flows, P], Operation[T]]) -> "Callable[Concatenate[Sluice, P], T]":
    def blocking(self: "Sluice", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._driver.run(call(self._flows, *args, **kwargs))

    functools.update_wrapper(blocking, call)
    return blocking


def _iteration[**P, T](
    flow: Callable[Concatenate[Flows, P], Flow[T]],
) -> "Callable[Concatenate[Sluice, P], Iterator[T]]":
    def blocking(self: "Sluice", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._driver.iterate(flow(self._flows, *args, **kwargs))

    functools.update_wrapper(blocking, flow)
    return blocking


def _async_call[**P, T](
    call: Callable[Concatenate[Flows, P], Operation[T]],
) -> "Callable[Concatenate[AsyncSluice, P], Awaitable[T]]":
    async def awaitable(self: "AsyncSluice", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._driver.run(call(self._flows, *args, **kwargs))

    functools.update_wrapper(awaitable, call)
    return awaitable


def _async_iteration[**P, T](
    flow: Callable[Concatenate[Flows, P], Flow[T]],
) -> "Callable[Concatenate[AsyncSluice, P], AsyncIterator[T]]":
    def asynchronous(self: "AsyncSluice", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._driver.iterate(flow(self._flows, *args, **kwargs))

    functools.update_wrapper(asynchronous, flow)
    return asynchronous


class Sluice:
    """A client with blocking calls.

    `url` and `api_key` are SLUICE_URL and SLUICE_API_KEY if nothing is said. `patience` is for how many seconds a
    call is repeated while that may help; `on_retry` is told before each time. `http` is a client of your own, for a
    proxy or certificates; it stays yours to close. `clock` and `sleep` are for tests.

    May be used by several threads, as far as `http` may. Close it, or use it in a `with`.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
        on_retry: OnRetry | None = None,
        http: httpx2.Client | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = Address.of(url, api_key)
        self._own = httpx2.Client() if http is None else None
        self._driver = Blocking(address, http or self._own or httpx2.Client(), sleep)
        self._flows = Flows(clock, patience, on_retry)

    def __repr__(self) -> str:
        return f"Sluice({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Tell where the service is."""
        return self._driver.address.url

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._own.close()

    submit = _call(Flows.submit)
    workflows = _call(Flows.workflows)
    get = _call(Flows.get)
    get_many = _call(Flows.get_many)
    get_batch = _call(Flows.get_batch)
    batch_tasks = _iteration(Flows.batch_tasks)
    wait = _call(Flows.wait)
    as_completed = _iteration(Flows.as_completed)
    stream = _iteration(Flows.stream)
    cancel = _call(Flows.cancel)
    cancel_batch = _call(Flows.cancel_batch)
    retry = _call(Flows.retry)
    map = _iteration(Flows.map)
    run = _iteration(Flows.run)


class AsyncSluice:
    """The same with asyncio: calls are awaited, iterations are `async for`. Use it in an `async with`."""

    def __init__(  # noqa: PLR0913 - each by name
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
        on_retry: OnRetry | None = None,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        address = Address.of(url, api_key)
        self._own = httpx2.AsyncClient() if http is None else None
        self._driver = Asyncio(address, http or self._own or httpx2.AsyncClient(), sleep)
        self._flows = Flows(clock, patience, on_retry)

    def __repr__(self) -> str:
        return f"AsyncSluice({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Tell where the service is."""
        return self._driver.address.url

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._own.aclose()

    submit = _async_call(Flows.submit)
    workflows = _async_call(Flows.workflows)
    get = _async_call(Flows.get)
    get_many = _async_call(Flows.get_many)
    get_batch = _async_call(Flows.get_batch)
    batch_tasks = _async_iteration(Flows.batch_tasks)
    wait = _async_call(Flows.wait)
    as_completed = _async_iteration(Flows.as_completed)
    stream = _async_iteration(Flows.stream)
    cancel = _async_call(Flows.cancel)
    cancel_batch = _async_call(Flows.cancel_batch)
    retry = _async_call(Flows.retry)
    map = _async_iteration(Flows.map)
    run = _async_iteration(Flows.run)
