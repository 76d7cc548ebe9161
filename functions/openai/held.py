"""Accept one request, and hold its call until the task has ended or the time of one call is over."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from common.api.auth_context import Caller
from common.api.long_poll import WaitOutcome, WaitPreference
from common.domain.errors import NotFound, StoreUnavailable
from common.domain.request import Kind
from common.domain.task import TaskRecord, TaskRef, batch_id_of_key
from common.runtime.metrics import Metric
from common.submission.limits import Limits
from common.submission.model import IdempotentRequest, Prompt, SubmitCall
from common.submission.service import SubmissionRouter
from common.webhooks.model import Webhook
from functions.openai.errors import TooManyHeldCalls

LONGEST_RETRY_DELAY_SECONDS: Final = 20
"""A call is held for 25 s at most, and the SDKs repeat a refused one twice."""


def random_retry_delay() -> int:
    """Return 1 to LONGEST_RETRY_DELAY_SECONDS: refused calls must not come back together."""
    return 1 + secrets.randbelow(LONGEST_RETRY_DELAY_SECONDS)


class RequestStore(Protocol):
    """Read records, and keep inputs. Each method raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the order asked, None for an unknown one."""

    async def save_input(self, ref: TaskRef, text: str) -> None:
        """Keep the input of a response with its task."""

    async def load_input(self, ref: TaskRef) -> str | None:
        """Return the input that a task keeps."""


class TaskWaiter(Protocol):
    """Wait for tasks. Raises StoreUnavailable where Redis does not answer."""

    async def wait(
        self, refs: Sequence[TaskRef], preference: WaitPreference, *, spent_seconds: float = 0.0
    ) -> WaitOutcome:
        """Wait until the tasks of one tenant have ended, or the preferred time is over."""


class HeldCallPlaces(Protocol):
    """Limit the calls that are held at a time. A place that is not released is free when its lease ends."""

    async def acquire(self, tenant: str, call: str) -> bool:
        """Take or renew the place of a call, and return whether it has one; raise StoreUnavailable."""

    async def release(self, tenant: str, call: str) -> None:
        """Give the place of a call back."""


class UnlimitedHeldCalls:
    """Hold every call: `HeldRequestService` has a place for it already."""

    @asynccontextmanager
    async def holding(self, tenant: str) -> AsyncGenerator[bool]:  # noqa: ARG002  # the protocol's
        """Yield True: the call may be held."""
        yield True


class HeldRequestService:
    """Accept requests of any tenant, and wait for their tasks.

    A call takes its place among the held calls before its request is accepted, and keeps it through its redirects: a
    call that finds none has caused no task.
    """

    def __init__(  # noqa: PLR0913  # each is a part of the service
        self,
        submissions: SubmissionRouter,
        waiter: TaskWaiter,
        places: HeldCallPlaces,
        store: RequestStore,
        *,
        limits: Limits,
        count: Callable[[Metric], object],
        retry_delay: Callable[[], int] = random_retry_delay,
    ) -> None:
        """Create the service.

        Args:
            submissions: accepts requests.
            waiter: waits for their tasks, however many calls are held.
            places: limits the calls that are held.
            store: reads their tasks.
            limits: deadline and retention of the tasks.
            count: counts the calls that find no place.
            retry_delay: returns the seconds after which such a call may be repeated.

        """
        self._count = count
        self._retry_delay = retry_delay
        self._submissions = submissions
        self._waiter = waiter
        self._places = places
        self._store = store
        self._limits = limits

    async def create(  # noqa: PLR0913  # each by name
        self,
        caller: Caller,
        prompt: Prompt,
        repeatable: IdempotentRequest,
        *,
        hold_seconds: int,
        webhook: Webhook | None = None,
        input_text: str | None = None,
    ) -> tuple[TaskRef, TaskRecord | None]:
        """Accept a request, or join the task that it has already, and hold the call.

        Returns:
            The task, and its record as it is then; the record is None where Redis has lost it.

        Raises:
            TooManyHeldCalls: as many calls are held as the limits allow; nothing was accepted.
            CallerError: the request is refused for now; nothing was accepted.
            StoreUnavailable, QueueUnavailable: it is safe to repeat.

        """
        started = asyncio.get_running_loop().time()
        ref = TaskRef(caller.tenant, batch_id_of_key(caller.tenant, repeatable.key), 0)
        call = SubmitCall((prompt,), self._limits.deadline_seconds, self._limits.retention_seconds, webhook=webhook)
        async with self._place(ref, is_held=hold_seconds > 0):
            await self._submissions.of(call.prompts).accept(caller.tenant, call, repeatable, caller.budgets)
            if input_text is not None:
                # The request is accepted: without its input it can be read all the same.
                with suppress(StoreUnavailable):
                    await self._store.save_input(ref, input_text)
            spent = asyncio.get_running_loop().time() - started
            return ref, await self._hold(ref, hold_seconds, spent)

    async def retrieve(
        self, tenant: str, task_id: str, kind: Kind, *, hold_seconds: int
    ) -> tuple[TaskRef, TaskRecord | None]:
        """Find a task of this kind, and hold the call until it has ended.

        Raises:
            NotFound: the tenant has no such task.
            TooManyHeldCalls: it has not ended, and as many calls are held as the limits allow.
            StoreUnavailable: Redis does not answer.

        """
        ref = TaskRef.parse(tenant, task_id)
        [record] = await self._store.read([ref]) if ref else [None]
        if ref is None or record is None or record.kind is not kind:
            raise NotFound("there is no such object")
        if record.status.is_terminal:
            await self._places.release(tenant, ref.task_id)
            return ref, record
        async with self._place(ref, is_held=hold_seconds > 0):
            return ref, await self._hold(ref, hold_seconds, 0.0)

    async def input_of(self, ref: TaskRef) -> str:
        """Return the input that was kept with a task.

        Raises:
            NotFound: it was not kept, because Redis did not answer then or has lost it.
            StoreUnavailable: Redis does not answer.

        """
        text = await self._store.load_input(ref)
        if text is None:
            raise NotFound("the input of this response was not kept")
        return text

    async def _hold(self, ref: TaskRef, hold_seconds: int, spent_seconds: float) -> TaskRecord | None:
        if hold_seconds:
            await self._waiter.wait([ref], WaitPreference(hold_seconds), spent_seconds=spent_seconds)
        [record] = await self._store.read([ref])
        if record is not None and record.status.is_terminal:
            await self._places.release(ref.tenant, ref.task_id)
        return record

    @asynccontextmanager
    async def _place(self, ref: TaskRef, *, is_held: bool) -> AsyncGenerator[None]:
        """Take a place; it is given back after an error, and stays with a call whose task has not ended."""
        if is_held and not await self._places.acquire(ref.tenant, ref.task_id):
            self._count(Metric.UNHELD)
            raise TooManyHeldCalls(self._retry_delay())
        try:
            yield
        except BaseException:
            await self._places.release(ref.tenant, ref.task_id)
            raise
