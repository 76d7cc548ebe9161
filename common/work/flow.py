"""Let a call start when the shared limits and pauses allow it.

A call stands in two lines, its tenant's and its model's; a line that nothing limits lets it pass. The tenant's comes
first: who is over its own limit must not hold places of the model that others could use.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from common.errors import StoreUnavailable
from common.flow import NO_LIMIT, model_scope, tenant_scope
from common.messages import TaskMessage
from common.tasks import FailureCode, Usage, WaitingOn
from common.work.budget import BudgetGuard
from common.work.limits import FlowLimits, ProviderLimits
from common.work.line import Denied, Line, Schedules
from common.work.progress import expected_tokens

CHARACTERS_PER_TOKEN: Final = 4
"""OpenAI's own rule of thumb for English. What a call really used corrects the schedule afterwards."""

DENIED_SHARE: Final = 0.5
"""Of its wait, what a delivery stays away that could not book: it must be back before its turn, to book it."""


class Flow(Protocol):
    """What the flow control asks of the store; may raise StoreUnavailable."""

    async def pause(self, model: str, wait_ms: int | None) -> int:
        """Pause a model for all workers, and answer for how many milliseconds it is paused now."""


class FlowStore(Schedules, Flow, Protocol):
    """Hold the schedules and the pauses."""


@dataclass(frozen=True, slots=True)
class Held:
    """Say for how many seconds a delivery should go back to the queue, and why."""

    seconds: float
    code: FailureCode | None = None
    waiting_on: WaitingOn = WaitingOn.RATE_LIMIT


class Gate(Protocol):
    """Let calls start."""

    async def start(self, message: TaskMessage) -> float | Held:
        """Wait until the call may start, and return the moment of the loop's clock by which it must have."""

    def used(self, message: TaskMessage, usage: Usage | None) -> None:
        """Take what an answered call has used."""

    async def slow_down(self, message: TaskMessage, retry_after: float | None) -> None:
        """Take the provider's word that calls come too fast."""


class FlowControl:
    """Keep the lines of one environment. Without limits it asks for pauses only, at most once a second per model."""

    def __init__(self, store: FlowStore, limits: FlowLimits, budget: BudgetGuard | None = None) -> None:
        self._budget = budget
        self._store = store
        self._limits = limits
        self._models: dict[str, Line] = {}
        self._tenants: dict[str, Line] = {}

    async def start(self, message: TaskMessage) -> float | Held:
        """Wait until the call may start, and return the moment of the loop's clock by which it must have.

        Raises:
            StoreUnavailable: nobody can say whether it may.

        """
        # First: what may not be paid for must take no place of others in a line.
        if self._budget and (seconds := await self._budget.hold(message)) is not None:
            return Held(seconds, waiting_on=WaitingOn.BUDGET)
        lines = self._lines(message)
        cost = _cost(message, lines)
        start_by = math.inf
        for line in lines:
            start = await line.start(cost)
            if isinstance(start, Denied):
                code = FailureCode.PAUSED if start.is_paused else FailureCode.RATE_LIMITED
                return Held(start.seconds * (1 if start.is_paused else DENIED_SHARE), code)
            start_by = start
        return start_by

    def used(self, message: TaskMessage, usage: Usage | None) -> None:
        """Correct the schedules by what an answered call has used."""
        lines = self._lines(message)
        if usage is not None:
            _correct(lines, usage.total_tokens - _cost(message, lines))

    async def slow_down(self, message: TaskMessage, retry_after: float | None) -> None:
        """Pause the model for every worker, as its provider asks; a store that does not answer is passed over."""
        lines = self._lines(message)
        _correct(lines, -_cost(message, lines))
        wait_ms = None if retry_after is None else math.ceil(retry_after * 1000)
        try:
            paused_ms = await self._store.pause(message.task.model, wait_ms)
        except StoreUnavailable:
            paused_ms = wait_ms or 0
        self._model(message.task.model).pause(paused_ms / 1000)

    def heard(self, model: str, headers: Mapping[str, str]) -> None:
        """Take the provider's own limits out of the headers of an answer, if this model has limits of ours."""
        if self._limits.of(model) != NO_LIMIT and (provider := ProviderLimits.of(headers)):
            self._model(model).hear(provider)

    def _lines(self, message: TaskMessage) -> list[Line]:
        model = self._model(message.task.model)
        if self._limits.of_tenant == NO_LIMIT:
            return [model]
        tenant = message.task.ref.tenant
        if tenant not in self._tenants:
            self._tenants[tenant] = Line(self._store, tenant_scope(tenant), self._limits.of_tenant)
        return [self._tenants[tenant], model]

    def _model(self, model: str) -> Line:
        if model not in self._models:
            self._models[model] = Line(self._store, model_scope(model), self._limits.of(model))
        return self._models[model]


def _cost(message: TaskMessage, lines: Sequence[Line]) -> int:
    # Measuring a prompt takes time, and most deployments limit no tokens.
    return estimated_tokens(message) if any(line.counts_tokens for line in lines) else 0


def _correct(lines: Sequence[Line], tokens: int) -> None:
    for line in lines:
        line.correct(tokens)


def estimated_tokens(message: TaskMessage) -> int:
    """Guess what a call will use, prompt and answer together."""
    characters = len(json.dumps(message.messages, ensure_ascii=False))
    return characters // CHARACTERS_PER_TOKEN + expected_tokens(message)
