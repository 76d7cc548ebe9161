"""The two clients: Sluice blocks, AsyncSluice uses asyncio.

Each request is written once, in ApiCalls and HighLevelCalls; the methods here run it on the client's transport.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Self, Unpack

import httpx2

from sluice._bulk import Chunk, OnAccepted, OnSubmit, Outcome
from sluice._events import Event
from sluice._high_level import CHUNK_SIZE, IN_FLIGHT, HighLevelCalls
from sluice._ids import TaskIds
from sluice._models import Batch, Submission, Task, Workflow
from sluice._options import CallOptions, SubmitOptions
from sluice._polling import HOLD_SECONDS, OnPoll
from sluice._prompts import Items, Prompt, Prompts
from sluice._retries import OnRetry
from sluice._transports import AsyncTransport, Endpoint, SyncTransport

PATIENCE_SECONDS: Final = 60.0
"""How long a request is retried, in seconds: long enough for a deployment, a failover or a short network outage."""


class Sluice:
    """A client with blocking calls.

    Args:
        url: the service's URL; the default is SLUICE_URL.
        api_key: the caller's key; the default is SLUICE_API_KEY.
        patience: how long a request is retried, in seconds.
        on_retry: called before each retry.
        http: an HTTP client of your own, for a proxy or certificates; you close it.
        clock: a monotonic clock in seconds, for tests.
        sleep: waits some seconds, for tests.

    Several threads may share it if `http` allows that. Close it, or use it in a `with` block.
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
        endpoint = Endpoint.of(url, api_key)
        client = httpx2.Client(**endpoint.client_options) if http is None else http
        self._own = client if http is None else None
        self._transport = SyncTransport(endpoint, client, sleep)
        self._calls = HighLevelCalls(clock, patience, on_retry)

    def __repr__(self) -> str:
        return f"Sluice({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Return the service's URL."""
        return self._transport.endpoint.url

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._own.close()

    def submit(self, prompts: Prompts | None = None, **options: Unpack[SubmitOptions]) -> Submission:
        """Submit up to 1,000 prompts in one call, or a template with its inputs, and return their IDs.

        A prompt is a text, or a mapping with `prompt` or `messages`. Use `map` for more prompts than a call takes.
        Requests of another `endpoint`, such as `/v1/embeddings`, are submitted as `requests`.
        Without an `idempotency_key` the client creates one; a repeated request is accepted once.

        Raises:
            TypeError: `prompts` is one prompt; pass it in a list.
            InvalidRequestError: an item breaks a rule; nothing was accepted.
            KeyReusedError: another request had this idempotency key.

        """
        return self._transport.run(self._calls.submit(prompts, **options))

    def workflows(self) -> list[Workflow]:
        """List the workflows that this key may start."""
        return self._transport.run(self._calls.workflows())

    def get(self, task_id: str, *, wait_seconds: float = 0) -> Task:
        """Return a task; with `wait_seconds` (at most 25), when it has ended or the time is over.

        Raises:
            NotFoundError, ExpiredError: there is no such task, or its retention is over.

        """
        return self._transport.run(self._calls.get(task_id, wait_seconds=wait_seconds))

    def get_many(self, tasks: TaskIds) -> list[Task]:
        """Return any number of tasks in the order asked; an unknown ID has the status `not_found`."""
        return self._transport.run(self._calls.get_many(tasks))

    def get_batch(self, batch_id: str, *, wait_seconds: float = 0) -> Batch:
        """Return a batch: counts, sums, and its first tasks without their results.

        Raises:
            NotFoundError, ExpiredError: there is no such batch, or its retention is over.

        """
        return self._transport.run(self._calls.get_batch(batch_id, wait_seconds=wait_seconds))

    def batch_tasks(self, batch_id: str, *, status: str | None = None) -> Iterator[Task]:
        """Iterate over a batch's tasks without their results, all of them or those with one status."""
        return self._transport.iterate(self._calls.batch_tasks(batch_id, status=status))

    def wait(self, tasks: TaskIds, *, timeout: float | None = None) -> list[Task]:
        """Wait until all tasks have ended, and return them in the order asked.

        Raises:
            WaitTimeoutError: `timeout` seconds are over.

        """
        return self._transport.run(self._calls.wait(tasks, timeout=timeout))

    def as_completed(self, tasks: TaskIds, *, timeout: float | None = None) -> Iterator[Task]:
        """Yield each task when it has ended, in the order of their ends.

        Raises:
            WaitTimeoutError: `timeout` seconds are over; every task that has ended was yielded.

        """
        return self._transport.iterate(self._calls.as_completed(tasks, timeout=timeout))

    def stream(self, task_id: str, *, after: str | None = None) -> Iterator[Event]:
        """Follow a task's text until it ends; the client reconnects after an interruption.

        `after` is the `id` of the last event received; another process may pass it too.

        Raises:
            NotFoundError, ExpiredError: there is no such task, or its retention is over.

        """
        return self._transport.iterate(self._calls.stream(task_id, after=after))

    def cancel(self, task_id: str) -> Task:
        """Cancel a task: a queued one is never sent to the model, a running one stops within seconds.

        Raises:
            AlreadyEndedError: it has completed or failed.

        """
        return self._transport.run(self._calls.cancel(task_id))

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel the tasks of a batch that have not ended; the counts say which ended how."""
        return self._transport.run(self._calls.cancel_batch(batch_id))

    def retry(self, batch_id: str, *, idempotency_key: str | None = None) -> Submission:
        """Submit the failed tasks of a batch again, as a new batch; each failed task is retried once.

        Raises:
            NothingToRetryError: no failed task can be retried.

        """
        return self._transport.run(self._calls.retry(batch_id, idempotency_key=idempotency_key))

    def map(  # noqa: PLR0913 - each by name
        self,
        prompts: Prompts,
        *,
        chunk_size: int = CHUNK_SIZE,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        idempotency_key: str | None = None,
        on_submit: OnSubmit | None = None,
        **options: Unpack[CallOptions],
    ) -> Iterator[Outcome]:
        """Submit any number of prompts and yield each outcome, in their order or with `ordered=False` as tasks end.

        The client takes prompts as it needs them, `chunk_size` to a call, with at most `in_flight` submitted and not
        yet yielded, so an endless iterable works. `on_submit` receives each accepted call; its IDs outlive the process.
        The same `idempotency_key`, prompts and `chunk_size` resume an interrupted run without paying twice. An
        exception that ends the iteration has a note with the IDs of the batches under way; if the caller stops
        iterating, the logger `sluice` warns with them.

        Raises:
            TypeError: `prompts` is one prompt; pass it in a list.

        """
        return self._transport.iterate(
            self._calls.map(
                prompts,
                chunk_size=chunk_size,
                in_flight=in_flight,
                ordered=ordered,
                idempotency_key=idempotency_key,
                on_submit=on_submit,
                **options,
            )
        )

    def run(  # noqa: PLR0913 - each by name
        self,
        chunks: Items[Chunk],
        options: Mapping[str, Any],
        *,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        on_accepted: OnAccepted | None = None,
        on_poll: OnPoll | None = None,
        hold: float = HOLD_SECONDS,
    ) -> Iterator[Outcome]:
        """Submit chunks that you cut and named yourself, or only wait for those that have a `batch_id`.

        `options` are those of `submit`. The command line is built on it: a chunk is taken just before it is sent, so
        its `key` can be written down first, and `on_accepted` receives its IDs.
        """
        return self._transport.iterate(
            self._calls.run(
                chunks,
                options,
                in_flight=in_flight,
                ordered=ordered,
                on_accepted=on_accepted,
                on_poll=on_poll,
                hold=hold,
            )
        )


class AsyncSluice:
    """A client for asyncio: calls are awaited, iterations are `async for`.

    It takes the arguments of Sluice. Close it, or use it in an `async with` block.
    """

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
        endpoint = Endpoint.of(url, api_key)
        client = httpx2.AsyncClient(**endpoint.client_options) if http is None else http
        self._own = client if http is None else None
        self._transport = AsyncTransport(endpoint, client, sleep)
        self._calls = HighLevelCalls(clock, patience, on_retry)

    def __repr__(self) -> str:
        return f"AsyncSluice({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Return the service's URL."""
        return self._transport.endpoint.url

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._own.aclose()

    async def submit(self, prompts: Prompts | None = None, **options: Unpack[SubmitOptions]) -> Submission:
        """Submit up to 1,000 prompts in one call, or a template with its inputs, and return their IDs."""
        return await self._transport.run(self._calls.submit(prompts, **options))

    async def workflows(self) -> list[Workflow]:
        """List the workflows that this key may start."""
        return await self._transport.run(self._calls.workflows())

    async def get(self, task_id: str, *, wait_seconds: float = 0) -> Task:
        """Return a task; with `wait_seconds` (at most 25), when it has ended or the time is over."""
        return await self._transport.run(self._calls.get(task_id, wait_seconds=wait_seconds))

    async def get_many(self, tasks: TaskIds) -> list[Task]:
        """Return any number of tasks in the order asked; an unknown ID has the status `not_found`."""
        return await self._transport.run(self._calls.get_many(tasks))

    async def get_batch(self, batch_id: str, *, wait_seconds: float = 0) -> Batch:
        """Return a batch: counts, sums, and its first tasks without their results."""
        return await self._transport.run(self._calls.get_batch(batch_id, wait_seconds=wait_seconds))

    def batch_tasks(self, batch_id: str, *, status: str | None = None) -> AsyncIterator[Task]:
        """Iterate over a batch's tasks without their results, all of them or those with one status."""
        return self._transport.iterate(self._calls.batch_tasks(batch_id, status=status))

    async def wait(self, tasks: TaskIds, *, timeout: float | None = None) -> list[Task]:  # noqa: ASYNC109 - as Sluice.wait
        """Wait until all tasks have ended, and return them in the order asked."""
        return await self._transport.run(self._calls.wait(tasks, timeout=timeout))

    def as_completed(self, tasks: TaskIds, *, timeout: float | None = None) -> AsyncIterator[Task]:
        """Yield each task when it has ended, in the order of their ends."""
        return self._transport.iterate(self._calls.as_completed(tasks, timeout=timeout))

    def stream(self, task_id: str, *, after: str | None = None) -> AsyncIterator[Event]:
        """Follow a task's text until it ends; the client reconnects after an interruption."""
        return self._transport.iterate(self._calls.stream(task_id, after=after))

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task: a queued one is never sent to the model, a running one stops within seconds."""
        return await self._transport.run(self._calls.cancel(task_id))

    async def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel the tasks of a batch that have not ended; the counts say which ended how."""
        return await self._transport.run(self._calls.cancel_batch(batch_id))

    async def retry(self, batch_id: str, *, idempotency_key: str | None = None) -> Submission:
        """Submit the failed tasks of a batch again, as a new batch; each failed task is retried once."""
        return await self._transport.run(self._calls.retry(batch_id, idempotency_key=idempotency_key))

    def map(  # noqa: PLR0913 - each by name
        self,
        prompts: Prompts | AsyncIterable[Prompt],
        *,
        chunk_size: int = CHUNK_SIZE,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        idempotency_key: str | None = None,
        on_submit: OnSubmit | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[Outcome]:
        """Submit any number of prompts and yield each outcome, in their order or with `ordered=False` as tasks end."""
        return self._transport.iterate(
            self._calls.map(
                prompts,
                chunk_size=chunk_size,
                in_flight=in_flight,
                ordered=ordered,
                idempotency_key=idempotency_key,
                on_submit=on_submit,
                **options,
            )
        )

    def run(  # noqa: PLR0913 - each by name
        self,
        chunks: Items[Chunk],
        options: Mapping[str, Any],
        *,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        on_accepted: OnAccepted | None = None,
        on_poll: OnPoll | None = None,
        hold: float = HOLD_SECONDS,
    ) -> AsyncIterator[Outcome]:
        """Submit chunks that you cut and named yourself, or only wait for those that have a `batch_id`."""
        return self._transport.iterate(
            self._calls.run(
                chunks,
                options,
                in_flight=in_flight,
                ordered=ordered,
                on_accepted=on_accepted,
                on_poll=on_poll,
                hold=hold,
            )
        )
