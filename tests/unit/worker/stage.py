"""The worker's service on a stage: a fake store, model, queue and journal, all in virtual time."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, override

from common.domain.budgets import BudgetCheck, BudgetKind, Budgets
from common.domain.errors import StoreUnavailable, Unavailable
from common.domain.message import TaskMessage
from common.domain.prices import Price, Prices
from common.domain.rate_limits import (
    HORIZON_MS,
    Feedback,
    Limit,
    Pauses,
    RateRefusal,
    StartRequest,
    StartTime,
)
from common.domain.spending import Charge
from common.domain.task import Answer, FailureCode, Task, TaskRecord, TaskRef, Usage
from common.domain.transitions import (
    NO_REPORT,
    CallReport,
    Claim,
    EndOutcome,
    Lease,
    ProgressNote,
    Release,
    ReleaseOutcome,
)
from common.worker.attempt import AttemptRunner
from common.worker.backoff import Backoff
from common.worker.billing import Billing
from common.worker.budget_guard import BudgetGuard
from common.worker.concurrency import AdaptiveConcurrency
from common.worker.deadlines import CallDurationEstimator, margin_of
from common.worker.limits import RateLimitSettings
from common.worker.message import DeliveryOutcome, ReceivedMessage
from common.worker.model_call import ModelCaller
from common.worker.progress import ProgressReporter
from common.worker.rate_limiter import RateLimiter
from common.worker.runner import BatchRunner
from common.worker.tenant_concurrency import TenantConcurrency
from tests.fakes import FakeStore
from tests.requests import chat, messages_of
from tests.unit.worker.virtual_time import VirtualTimeLoop

EPOCH_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
WORKER_TIMEOUT = 300.0
LEASE_SECONDS = 40.0
STOP_AT = WORKER_TIMEOUT - margin_of(WORKER_TIMEOUT)
USAGE = Usage(5, 7, 12)
PRICES = Prices({"gpt-test": Price(input=10, cached_input=1, output=100)})

type Script = Callable[[Callable[[str], None]], Awaitable[Answer]]


def answers(text: str = "fine", *, seconds: float = 1.0, pieces: int = 1) -> Script:
    """Answer in so many pieces, evenly over the time."""

    async def script(on_text: Callable[[str], None]) -> Answer:
        for _ in range(pieces):
            await asyncio.sleep(seconds / pieces)
            on_text(text)
        return Answer(text * pieces, "stop", USAGE)

    return script


def drips(*, every: float = 0.5) -> Script:
    """Answer without end."""

    async def script(on_text: Callable[[str], None]) -> Answer:
        while True:
            await asyncio.sleep(every)
            on_text("drip ")

    return script


def raises(error: Exception, *, seconds: float = 1.0) -> Script:
    async def script(_: Callable[[str], None]) -> Answer:
        await asyncio.sleep(seconds)
        raise error

    return script


@dataclass
class FakeModel:
    """Answer each prompt as its script says; the prompts are the tests' names for their tasks."""

    scripts: dict[str, Script]
    has_key: bool = True
    key_takes: float = 0.0
    calls: list[str] = field(default_factory=list)
    started_at: dict[str, float] = field(default_factory=dict)
    ends_at: dict[str, float] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    beside: dict[str, set[str]] = field(default_factory=dict)

    async def prepare(self) -> None:
        await asyncio.sleep(self.key_takes)
        if not self.has_key:
            raise Unavailable

    async def ask(self, message: TaskMessage, on_text: Callable[[str], None], *, ends_at: float) -> Answer:
        self.ends_at[messages_of(message)[0]["content"]] = ends_at
        prompt = messages_of(message)[0]["content"]
        self.calls.append(prompt)
        self.started_at[prompt] = asyncio.get_running_loop().time()
        for other in self.running:
            self.beside.setdefault(other, set()).add(prompt)
        self.beside[prompt] = set(self.running)
        self.running.add(prompt)
        try:
            return await self.scripts.get(prompt, answers())(on_text)
        finally:
            self.running.discard(prompt)


class FailingStore(FakeStore):
    """Be unreachable between two moments, for the methods named."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__(lambda: EPOCH_MS + round(loop.now * 1000))
        self._loop = loop
        self.outage: tuple[float, float] = (0.0, 0.0)
        self.out: frozenset[str] = frozenset()
        self.notes: list[tuple[float, list[ProgressNote]]] = []
        self.progress_error: Exception | None = None
        self.asked: list[str] = []
        self.claim_takes = 0.0

    def goes_down(self, *methods: str, since: float = 0.0, until: float = float("inf")) -> None:
        self.out, self.outage = frozenset(methods), (since, until)

    def _check(self, method: str) -> None:
        self.asked.append(method)
        since, until = self.outage
        if method in self.out and since <= self._loop.now < until:
            raise StoreUnavailable

    @override
    async def claim(self, lease: Lease) -> Claim:
        self._check("claim")
        await asyncio.sleep(self.claim_takes)
        return await super().claim(lease)

    @override
    async def release(self, lease: Lease, release: Release) -> ReleaseOutcome:
        self._check("release")
        return await super().release(lease, release)

    @override
    async def complete(self, lease: Lease, answer: Answer, charge: Charge | None = None) -> EndOutcome:
        self._check("complete")
        return await super().complete(lease, answer, charge)

    @override
    async def charge(self, lease: Lease, charge: Charge) -> None:
        self._check("charge")
        await super().charge(lease, charge)

    @override
    async def fail(
        self,
        lease: Lease,
        code: FailureCode,
        last_code: FailureCode | None = None,
        error_type: str | None = None,
        report: CallReport = NO_REPORT,
    ) -> EndOutcome:
        self._check("fail")
        return await super().fail(lease, code, last_code, error_type, report)

    @override
    async def progress(self, notes: Sequence[ProgressNote]) -> list[bool]:
        self._check("progress")
        if self.progress_error:
            raise self.progress_error
        self.notes.append((self._loop.now, list(notes)))
        return await super().progress(notes)


@dataclass
class FakeQueue:
    waits: dict[str, float] = field(default_factory=dict)
    hidden: list[dict[str, float]] = field(default_factory=list)
    sent: dict[str, float] = field(default_factory=dict)
    refuses: bool = False
    hangs_at: str | None = None

    async def resend(
        self, waits: Sequence[tuple[ReceivedMessage, str, float]], on_sent: Callable[[ReceivedMessage], None]
    ) -> None:
        for delivery, _, wait in waits:
            if delivery.message_id == self.hangs_at:
                await asyncio.Event().wait()
            if not self.refuses:
                self.sent[delivery.message_id] = wait
                on_sent(delivery)

    async def extend_visibility(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        self.hidden.append({delivery.message_id: wait for delivery, wait in waits})

    async def return_messages(self, waits: Sequence[tuple[ReceivedMessage, float]]) -> None:
        self.waits |= {delivery.message_id: wait for delivery, wait in waits}


class FakeFlows:
    """Keep a schedule of requests, a pause and the shares of one world, without the finer points of the scripts.

    All scopes are one here, but each has a count of its own of the tokens that are booked.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.next_request = 0.0
        self.paused_until = 0.0
        self.in_flight = 0
        self.booked: list[list[int]] = []
        self.tokens: Counter[str] = Counter()
        self.feedback: list[Feedback] = []
        self.refusals: list[RateRefusal] = []
        self.are_others_refused = True
        self.shared: list[dict[str, int]] = []
        self.is_down = False
        self.takes = 0.0

    async def reserve(
        self, scope: str, limit: Limit, requests: Sequence[StartRequest], feedback: Feedback
    ) -> list[StartTime]:
        if self.is_down:
            raise StoreUnavailable
        if requests:
            self.booked.append([request.tokens for request in requests])
        self.tokens[scope] += feedback.tokens
        self.feedback.append(feedback)
        now = self._now()
        paused_ms = math.ceil(max(0.0, self.paused_until - now) * 1000)
        starts = []
        for request in requests:
            start = max(now, self.paused_until, self.next_request if limit.requests else 0.0)
            wait_ms = math.ceil((start - now) * 1000)
            fits = wait_ms <= HORIZON_MS
            starts.append(StartTime(wait_ms, paused_ms, fits))
            if not fits:
                continue
            self.tokens[scope] += request.tokens
            if limit.requests:
                self.next_request = start + 60 / limit.requests
        await asyncio.sleep(self.takes)
        return starts

    async def refused(self, refusal: RateRefusal) -> Pauses:
        self.refusals.append(refusal)
        if not refusal.is_known:
            self.paused_until = max(self.paused_until, self._now() + (refusal.wait_ms or 1000) / 1000)
        left_ms = math.ceil(max(0.0, self.paused_until - self._now()) * 1000)
        return Pauses(left_ms, left_ms, self.are_others_refused)

    async def acquire_slots(
        self,
        invocation: str,  # noqa: ARG002
        wanted: Mapping[str, int],
        cap: int,
        lease_ms: int,  # noqa: ARG002
    ) -> dict[str, int]:
        self.shared.append(dict(wanted))
        return {tenant: max(0, min(count, cap - self.in_flight)) for tenant, count in wanted.items()}


class FakeBudgets:
    """Judge by one day's tokens, whoever's."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.used = 0
        self.is_down = False
        self.asked = 0

    async def check(self, tenant: str, budgets: Budgets, now_ms: int) -> BudgetCheck:
        assert tenant == "acme"
        assert now_ms == EPOCH_MS + round(self._now() * 1000)
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.is_down:
            raise StoreUnavailable
        is_over = budgets.tokens is not None and self.used >= budgets.tokens
        return BudgetCheck(BudgetKind.TOKENS if is_over else None, EPOCH_MS + round(self._now() * 1000))


@dataclass
class FakeJournal:
    endings: dict[str, DeliveryOutcome] = field(default_factory=dict)
    faults: list[Exception] = field(default_factory=list)

    def record_outcome(self, delivery: ReceivedMessage, ending: DeliveryOutcome, message: TaskMessage | None) -> None:
        del message
        self.endings[delivery.message_id] = ending

    def record_unexpected_error(self, error: Exception) -> None:
        self.faults.append(error)


class Stage:
    """One worker environment; `work` is one invocation."""

    def __init__(
        self,
        *,
        concurrency: int = 10,
        max_attempts: int = 3,
        chance: float = 1.0,
        limits: RateLimitSettings = RateLimitSettings({}),  # noqa: B008  frozen
    ) -> None:
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        loop = self.runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.store = FailingStore(loop)
        self.flows = FakeFlows(lambda: loop.now)
        self.budgets = FakeBudgets(lambda: loop.now)
        guard = BudgetGuard(self.budgets, now_ms=self.now_ms)
        self.flow = RateLimiter(self.flows, limits, guard, now_ms=self.now_ms)
        self.model = FakeModel({})
        self.queue = FakeQueue()
        self.journal = FakeJournal()
        self._indexes: dict[str, int] = {}
        board = ProgressReporter(self.store, self.journal.record_unexpected_error)
        attempts = AttemptRunner(
            claims=self.store,
            calls=ModelCaller(
                self.model, board, AdaptiveConcurrency(1, concurrency), CallDurationEstimator(), 120.0, Billing(PRICES)
            ),
            flow=self.flow,
            backoff=Backoff(lambda: chance),
            max_attempts=max_attempts,
        )
        margin = margin_of(WORKER_TIMEOUT)
        shares = TenantConcurrency(self.flows, limits.tenant_in_flight)
        self.worker = BatchRunner(
            attempts, self.queue, shares, self.journal, margin_seconds=margin, lease_seconds=LEASE_SECONDS
        )

    def now_ms(self) -> int:
        """Return the wall clock's time."""
        return EPOCH_MS + round(self.loop.now * 1000)

    def task(self, prompt: str, *, deadline_in: float = 6 * 3600.0, tenant: str = "acme") -> Task:
        index = self._indexes.setdefault(prompt, len(self._indexes))
        ref = TaskRef(tenant, "0" * 36, index)
        return Task(
            ref=ref,
            batch_size=100,
            created_ms=EPOCH_MS,
            deadline_ms=EPOCH_MS + round(deadline_in * 1000),
            retention_ms=24 * HOUR_MS,
            model="gpt-test",
        )

    def message(
        self,
        prompt: str,
        *,
        deadline_in: float = 6 * 3600.0,
        params: dict[str, Any] | None = None,
        expected_tokens: int | None = None,
        budgets: Budgets | None = None,
        tenant: str = "acme",
    ) -> TaskMessage:
        task = self.task(prompt, deadline_in=deadline_in, tenant=tenant)
        return TaskMessage(task, chat(prompt, **params or {}), expected_tokens, budgets)

    def delivery(
        self,
        prompt: str,
        *,
        receives: int = 1,
        deadline_in: float = 6 * 3600.0,
        expected_tokens: int | None = None,
        budgets: Budgets | None = None,
        tenant: str = "acme",
    ) -> ReceivedMessage:
        """Deliver the prompt's task; the prompt is the message's id too."""
        message = self.message(
            prompt, deadline_in=deadline_in, expected_tokens=expected_tokens, budgets=budgets, tenant=tenant
        )
        return ReceivedMessage(prompt, f"receipt of {prompt}", receives, message.encode())

    def work(self, *deliveries: ReceivedMessage, remaining: float = WORKER_TIMEOUT) -> list[str]:
        """Run one invocation, and return the ids of the messages that it reports."""
        self.queue.waits.clear()
        self.queue.sent.clear()
        self.queue.hidden.clear()
        self.journal.endings.clear()
        back = self.runner.run(self._work(deliveries, remaining))
        assert not asyncio.all_tasks(self.loop), "something runs on after the invocation"
        return [delivery.message_id for delivery in back]

    async def _work(self, deliveries: Sequence[ReceivedMessage], remaining: float) -> list[ReceivedMessage]:
        back = await self.worker.run(deliveries, remaining)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "something still runs when the work is said to be over"
        return back

    def record(self, prompt: str) -> TaskRecord | None:
        return self.runner.run(self.store.read([self.task(prompt).ref]))[0]

    def pass_time(self, seconds: float) -> None:
        self.loop.now += seconds
