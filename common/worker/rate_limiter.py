"""Start a call when the shared limits and pauses allow it.

A call stands in two lines, its tenant's and its model's; a line that nothing limits lets it pass. The tenant's comes
first: who is over its own limit must not hold places of the model that others could use.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from common.domain.errors import ModelBusy, StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.rate_limits import (
    NO_LIMIT,
    Pauses,
    RateRefusal,
    RefusalCause,
    StartRequest,
    model_scope,
    tenant_scope,
)
from common.domain.task import FailureCode, WaitingOn
from common.worker.budget_guard import BudgetGuard
from common.worker.limits import ProviderLimits, RateLimitSettings
from common.worker.permit import Permit
from common.worker.schedule import ScheduleClient, ScheduleStore
from common.worker.start_batch import StartDenied
from common.worker.token_estimates import answer_tokens, prompt_tokens

CLOCK_SKEW_MS: Final = 1_000
"""How far our clock may be ahead of the store's, by which deadlines are."""

SURELY_TOO_LARGE: Final = 1.25
"""By how much an estimate must exceed the provider's tokens a minute: it may be wrong by a part."""

DENIED_SHARE: Final = 0.5
"""Of its wait, what a delivery stays away that could not book: it must be back before its turn, to book it."""


class PauseStore(Protocol):
    """What the flow control asks of the store; may raise StoreUnavailable."""

    async def refused(self, refusal: RateRefusal) -> Pauses:
        """Pause a model for a tenant, or for all, and answer for how long it is paused now."""


class RateLimiterStore(ScheduleStore, PauseStore, Protocol):
    """Hold the schedules and the pauses."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Return a delivery to the queue for so many seconds, with the reason."""

    seconds: float
    code: FailureCode | None = None
    waiting_on: WaitingOn = WaitingOn.RATE_LIMIT


class StartLimiter(Protocol):
    """Limit the starts of calls."""

    async def wait_for_start(self, message: TaskMessage) -> Permit | Deferred:
        """Wait until the call may start."""

    async def slow_down(self, message: TaskMessage, busy: ModelBusy, *, is_known: bool) -> RefusalCause:
        """Take the provider's word that calls come too fast, and say what it has refused this one by.

        `is_known` says that this task was refused before, while others were let through.
        """

    async def report(self) -> None:
        """Return what calls have booked beyond their use, where others wait for it; may raise StoreUnavailable."""


class RateLimiter:
    """Keep the lines of one environment. Without limits it asks for pauses only, at most once a second per model."""

    def __init__(
        self,
        store: RateLimiterStore,
        limits: RateLimitSettings,
        budget: BudgetGuard | None = None,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        """Take the store, the operator's limits, who judges budgets, and a clock in milliseconds since 1970."""
        self._budget = budget
        self._store = store
        self._limits = limits
        self._now_ms = now_ms
        self._minutes: dict[str, int] = {}
        self._models: dict[str, ScheduleClient] = {}
        self._tenants: dict[str, ScheduleClient] = {}

    async def wait_for_start(self, message: TaskMessage) -> Permit | Deferred:
        """Wait until the call may start.

        Raises:
            StoreUnavailable: nobody can say whether it may.

        """
        if self._now_ms() >= message.task.deadline_ms + CLOCK_SKEW_MS:
            return Permit()  # it books nothing, for no call will be made: its claim fails it
        # First: what may not be paid for must take no place of others in a line.
        if self._budget and (seconds := await self._budget.deferral_seconds(message)) is not None:
            return Deferred(seconds, waiting_on=WaitingOn.BUDGET)
        lines = self._lines(message)
        most = min((line.most_tokens for line in lines if line.most_tokens), default=0)
        # Measuring a prompt takes time, and most deployments limit no tokens.
        prompt = prompt_tokens(message) if most else 0
        cost = prompt + answer_tokens(message) if most else 0
        if cost > most:
            # No minute has room for it. Only who has claimed it may fail it.
            return Permit(refusal=FailureCode.REQUEST_TOO_LARGE)
        model, tenant = lines[-1], message.task.ref.tenant
        permit = Permit(prompt, cost, on_begin=lambda: model.let_through(tenant))
        return await self._in_line(lines, permit, StartRequest(cost, tenant))

    async def _in_line(
        self, lines: Iterable[ScheduleClient], permit: Permit, request: StartRequest
    ) -> Permit | Deferred:
        try:
            for line in lines:
                start = await line.start(request)
                if isinstance(start, StartDenied):
                    permit.settle()
                    code = FailureCode.PAUSED if start.is_paused else FailureCode.RATE_LIMITED
                    return Deferred(start.seconds * (1 if start.is_paused else DENIED_SHARE), code)
                permit.add(line, start)
        except BaseException:
            permit.settle()
            raise
        return permit

    async def report(self) -> None:
        """Return at once what calls have booked beyond their use, where it is worth others' while.

        Raises:
            StoreUnavailable: it may be lost. Some of the rate is lost then, and never exceeded.

        """
        for line in (*self._tenants.values(), *self._models.values()):
            await line.report()

    async def slow_down(self, message: TaskMessage, busy: ModelBusy, *, is_known: bool) -> RefusalCause:
        """Pause the model as its provider asks, and say what it has refused this call by.

        A store that does not answer is passed over: nothing then says that this task alone is refused.
        """
        task = message.task
        if self._exceeds_a_minute(message):
            return RefusalCause.SIZE
        wait_ms = None if busy.retry_after is None else math.ceil(busy.retry_after * 1000)
        refusal = RateRefusal(task.model, task.ref.tenant, task.ref.task_id, wait_ms, is_known)
        try:
            pauses = await self._store.refused(refusal)
        except StoreUnavailable:
            pauses = Pauses(wait_ms or 0, 0, are_others_refused=True)
        self._model(task.model).pause(pauses.tenant_ms / 1000, task.ref.tenant)
        self._model(task.model).pause(pauses.shared_ms / 1000)
        return RefusalCause.MODEL if pauses.are_others_refused else RefusalCause.TASK

    def record_headers(self, model: str, headers: Mapping[str, str]) -> None:
        """Take the provider's own limits out of the headers of an answer."""
        provider = ProviderLimits.of(headers)
        if provider is None:
            return
        if provider.limit.tokens:
            self._minutes[model] = provider.limit.tokens
        if self._limits.of(model) != NO_LIMIT:
            self._model(model).record_provider_limits(provider)

    def _exceeds_a_minute(self, message: TaskMessage) -> bool:
        """Return whether a refused call is surely larger than the tokens of a minute that the provider named."""
        minute = self._minutes.get(message.task.model)
        if minute is None:
            return False
        return prompt_tokens(message) + answer_tokens(message) > minute * SURELY_TOO_LARGE

    def _lines(self, message: TaskMessage) -> list[ScheduleClient]:
        model = self._model(message.task.model)
        if self._limits.of_tenant == NO_LIMIT:
            return [model]
        tenant = message.task.ref.tenant
        if tenant not in self._tenants:
            self._tenants[tenant] = ScheduleClient(self._store, tenant_scope(tenant), self._limits.of_tenant)
        return [self._tenants[tenant], model]

    def _model(self, model: str) -> ScheduleClient:
        if model not in self._models:
            self._models[model] = ScheduleClient(self._store, model_scope(model), self._limits.of(model))
        return self._models[model]
