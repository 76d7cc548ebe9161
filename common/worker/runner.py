"""Work on the messages of one invocation, several at a time, and say which have to come back.

attempt.py works on one delivery; this module has what the deliveries share: slots, limits, time and order.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from common.domain.backlog import BacklogQueue
from common.domain.errors import MessageTooNew, MessageUnreadable, StoreUnavailable, Unavailable
from common.domain.message import TaskMessage
from common.domain.task import TaskRef, WaitingOn
from common.kinds.registry import registration_of
from common.worker.attempt import AttemptRunner
from common.worker.concurrency import Origin
from common.worker.deadlines import InvocationDeadlines
from common.worker.heartbeat import Heartbeat, VisibilityExtender
from common.worker.message import DEFERRALS, RESEND_RECEIVES, DeliveryOutcome, OutcomeKind, ReceivedMessage
from common.worker.rate_limiter import Deferred
from common.worker.semaphore import ResizableSemaphore
from common.worker.tenant_concurrency import TenantConcurrency, TenantSlots

QUEUE_END_SECONDS: Final = 0.5
"""Before the hard end, the latest moment at which we still wait for the queue: our answer must get out."""

TENANT_CAP_RETRY_SECONDS: Final = 5.0
"""How long a delivery stays away whose tenant has all its calls in flight: about the time of a call."""


class MessageReturner(VisibilityExtender, Protocol):
    """Bring messages back. A failure is the adapter's to log: the queue's own timeout applies."""

    async def return_messages(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        """Make each message visible again in so many seconds."""

    async def resend(
        self, waits: Sequence[tuple[ReceivedMessage, str, float]], on_sent: Callable[[ReceivedMessage], None]
    ) -> None:
        """Send a copy of each message, for its tenant, due in so many seconds; tell of each as soon as it is sent."""


class Backlog(Protocol):
    """Count each tenant's tasks in the queue; may raise StoreUnavailable."""

    async def remove(self, queue: BacklogQueue, refs: Sequence[TaskRef]) -> None:
        """Give back the places of tasks whose messages leave the queue."""


class OutcomeRecorder(Protocol):
    """Note what happened, without a word of prompt or answer."""

    def record_outcome(self, delivery: ReceivedMessage, outcome: DeliveryOutcome, message: TaskMessage | None) -> None:
        """Note how a delivery ended; `message` is None where it could not be read."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """Hold a delivery and its message, or why that cannot be read."""

    delivery: ReceivedMessage
    message: TaskMessage | None
    unreadable_as: OutcomeKind = OutcomeKind.UNREADABLE

    @classmethod
    def of(cls, delivery: ReceivedMessage) -> "WorkItem":
        """Read a delivery's message."""
        try:
            return cls(delivery, TaskMessage.decode(delivery.body))
        except MessageTooNew:
            return cls(delivery, None, OutcomeKind.TOO_NEW)
        except MessageUnreadable:
            return cls(delivery, None)


@dataclass(frozen=True, slots=True)
class InvocationContext:
    """Hold what the deliveries of one invocation share."""

    deadlines: InvocationDeadlines
    heartbeat: Heartbeat
    can_call: bool
    tenant_slots: Mapping[str, TenantSlots]


class BatchRunner:
    """Work on invocations, one after the other, for the life of the environment."""

    def __init__(  # noqa: PLR0913  # each is a part of a worker
        self,
        attempts: AttemptRunner,
        queue: MessageReturner,
        shares: TenantConcurrency,
        journal: OutcomeRecorder,
        *,
        margin_seconds: float,
        lease_seconds: float,
        backlog: Backlog | None = None,
    ) -> None:
        """Take the collaborators, how early calls stop, and how long a lease lasts that is not renewed.

        Without a backlog nobody counts what is in the queue.
        """
        self._attempts = attempts
        self._calls = attempts.calls
        self._queue = queue
        self._shares = shares
        self._journal = journal
        self._slots = ResizableSemaphore(attempts.calls.concurrency)
        self._margin_seconds = margin_seconds
        self._lease_seconds = lease_seconds
        self._backlog = backlog

    async def run(self, deliveries: Sequence[ReceivedMessage], remaining_seconds: float) -> list[ReceivedMessage]:
        """Work on a batch and return what has to come back; nothing of it runs on when this returns.

        Fresh deliveries run side by side. Suspects run after them, each alone: a prompt that kills its worker then
        costs attempts of its own only.
        """
        deadlines = InvocationDeadlines.starting_now(remaining_seconds, self._margin_seconds, self._lease_seconds)
        heartbeat = Heartbeat(self._queue, deliveries, deadlines)
        self._calls.durations.start_invocation()
        items = [WorkItem.of(delivery) for delivery in deliveries]
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(heartbeat.running())
            context = await self._begin(items, deadlines, heartbeat, resources)
            async with self._calls.progress.running(deadlines):
                outcomes = await self._process_all(items, context)
        await self._record_waits(outcomes, deadlines)
        await self._leave_backlog(outcomes, deadlines)
        return await self._return_messages(outcomes, deadlines)

    async def _begin(
        self, items: Sequence[WorkItem], deadlines: InvocationDeadlines, heartbeat: Heartbeat, resources: AsyncExitStack
    ) -> InvocationContext:
        """Make sure that calls can be made, and take the tenants' shares of them."""
        try:
            async with asyncio.timeout_at(deadlines.stop_at):
                await self._calls.model.prepare()
                shares = await resources.enter_async_context(self._shares.acquire(self._wanted(items), deadlines))
        except (Unavailable, TimeoutError):
            return InvocationContext(deadlines, heartbeat, can_call=False, tenant_slots={})
        return InvocationContext(deadlines, heartbeat, can_call=True, tenant_slots=shares)

    def _wanted(self, items: Sequence[WorkItem]) -> dict[str, int]:
        """Return how many calls each tenant would have in flight here, if its cap allowed that."""
        concurrency, wanted = self._calls.concurrency, Counter[str]()
        for origin, count in Counter(Origin.of(item.message) for item in items if item.message).items():
            wanted[origin.tenant] += min(count, concurrency.of_tenant(origin))
        return {tenant: min(count, concurrency.most) for tenant, count in wanted.items()}

    async def _process_all(
        self, items: Sequence[WorkItem], context: InvocationContext
    ) -> list[tuple[WorkItem, DeliveryOutcome]]:
        fresh = [item for item in items if not item.delivery.is_suspect]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._process(item, context)) for item in fresh]
        outcomes = [(item, task.result()) for item, task in zip(fresh, tasks, strict=True)]
        outcomes += [(item, await self._process(item, context)) for item in items if item.delivery.is_suspect]
        return outcomes

    async def _process(self, item: WorkItem, context: InvocationContext) -> DeliveryOutcome:
        """See one delivery to its end, and note it. Never raises: its neighbours go on."""
        wait = self._attempts.backoff.after_receive(item.delivery.receives)
        try:
            if not context.can_call:
                outcome = DeliveryOutcome(OutcomeKind.UNAVAILABLE, wait)
            elif item.message is None:
                outcome = DeliveryOutcome(item.unreadable_as, wait)
            else:
                outcome = await self._run_when_allowed(item.delivery, item.message, context)
        except StoreUnavailable:
            outcome = DeliveryOutcome(OutcomeKind.UNAVAILABLE, wait)
        except Exception as error:  # noqa: BLE001  # noted with its place; the delivery comes back
            outcome = DeliveryOutcome(OutcomeKind.CRASHED, wait, error=error)
        if outcome.retry_in_seconds is None:
            context.heartbeat.done(item.delivery)
        self._journal.record_outcome(item.delivery, outcome, item.message)
        await self._report(context.deadlines)
        return outcome

    async def _report(self, deadlines: InvocationDeadlines) -> None:
        """Return at once what a call has booked beyond its use: others wait for it. A comfort, tried once."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout_at(deadlines.writes_end):
                await self._attempts.flow.report()

    async def _run_when_allowed(
        self, delivery: ReceivedMessage, message: TaskMessage, context: InvocationContext
    ) -> DeliveryOutcome:
        """Make an attempt when the tenant, this environment and the shared limits have room for it."""
        task_id, deadlines, backoff = message.task.ref.task_id, context.deadlines, self._attempts.backoff
        origin, pace = Origin.of(message), self._calls.durations
        unstarted = DeliveryOutcome(OutcomeKind.UNSTARTED, 0.0, task_id, waiting_on=WaitingOn.CAPACITY)
        share = context.tenant_slots.get(origin.tenant)
        if share and share.is_empty:
            wait = backoff.after_deferral(TENANT_CAP_RETRY_SECONDS)
            return DeliveryOutcome(OutcomeKind.HELD, wait, task_id, waiting_on=WaitingOn.CAPACITY)
        async with AsyncExitStack() as resources:
            try:
                async with asyncio.timeout_at(deadlines.stop_at):
                    if share:
                        await resources.enter_async_context(share.slots)
                    await resources.enter_async_context(self._slots.acquire(origin))
                    if not pace.expects_to_finish_in(origin.tenant, deadlines.seconds_to_stop):
                        return unstarted
                    permit = await self._attempts.flow.wait_for_start(message)
            except TimeoutError:
                return unstarted
            if isinstance(permit, Deferred):
                wait = backoff.after_deferral(permit.seconds)
                return DeliveryOutcome(OutcomeKind.HELD, wait, task_id, code=permit.code, waiting_on=permit.waiting_on)
            resources.callback(permit.settle)
            if not pace.expects_to_finish_in(origin.tenant, deadlines.seconds_to_stop):
                return unstarted
            return await self._attempts.run(delivery, message, deadlines, permit, resources.aclose)

    async def _record_waits(
        self, outcomes: Sequence[tuple[WorkItem, DeliveryOutcome]], deadlines: InvocationDeadlines
    ) -> None:
        """Record what tasks that were not claimed wait for; optional, tried once."""
        refs: defaultdict[WaitingOn, list[TaskRef]] = defaultdict(list)
        for item, outcome in outcomes:
            if item.message and outcome.waiting_on:
                refs[outcome.waiting_on].append(item.message.task.ref)
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout_at(deadlines.writes_end):
                for waiting_on, group in refs.items():
                    await self._attempts.claims.mark_waiting(group, waiting_on)

    async def _leave_backlog(
        self, outcomes: Sequence[tuple[WorkItem, DeliveryOutcome]], deadlines: InvocationDeadlines
    ) -> None:
        """Give back the places of tasks whose messages are about to be deleted; what is not given back expires."""
        if self._backlog is None:
            return
        refs: defaultdict[BacklogQueue, list[TaskRef]] = defaultdict(list)
        for item, outcome in outcomes:
            if item.message and outcome.retry_in_seconds is None:
                refs[registration_of(item.message.task.kind).queue].append(item.message.task.ref)
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout_at(deadlines.writes_end):
                for queue, group in refs.items():
                    await self._backlog.remove(queue, group)

    async def _return_messages(
        self, outcomes: Sequence[tuple[WorkItem, DeliveryOutcome]], deadlines: InvocationDeadlines
    ) -> list[ReceivedMessage]:
        """Bring back what is not done with, and return what the queue must not delete."""
        back = [
            (item.delivery, outcome.retry_in_seconds)
            for item, outcome in outcomes
            if outcome.retry_in_seconds is not None
        ]
        renewed = [
            (item.delivery, item.message.task.ref.tenant, outcome.retry_in_seconds)
            for item, outcome in outcomes
            if outcome.retry_in_seconds is not None
            and (item.message and outcome.kind in DEFERRALS and item.delivery.receives >= RESEND_RECEIVES)
        ]
        names = {delivery.message_id for delivery, _, _ in renewed}
        sent: set[str] = set()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadlines.hard_end - QUEUE_END_SECONDS):
                # Side by side, and each noted as it is sent: one that hangs must cost its neighbours nothing.
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._queue.resend(renewed, lambda delivery: sent.add(delivery.message_id)))
                    group.create_task(
                        self._queue.return_messages([each for each in back if each[0].message_id not in names])
                    )
                await self._queue.return_messages([each for each in back if each[0].message_id in names - sent])
        return [delivery for delivery, _ in back if delivery.message_id not in sent]
