"""Charge model calls, answered or not: as the provider has billed them, or by an estimate where it tells nothing."""

from dataclasses import dataclass
from typing import Final

from common.domain.errors import CallHeld, ModelError, Unavailable
from common.domain.message import TaskMessage
from common.domain.prices import Prices
from common.domain.spending import NO_CHARGE, Charge
from common.domain.task import Answer, FailureCode, Usage
from common.worker.token_estimates import prompt_tokens

BEGUN: Final = frozenset(
    {FailureCode.TIMEOUT, FailureCode.STREAM_CUT, FailureCode.NO_CONTENT, FailureCode.ANSWER_TOO_LARGE}
)
"""Failures of a call that the model had begun to answer, though no text of it came. Models reason unheard."""


@dataclass(frozen=True, slots=True)
class Billing:
    """Charge calls by a price table."""

    prices: Prices

    def answered(self, message: TaskMessage, answer: Answer, tokens: int) -> Charge:
        """Charge a call for its answer, of which so many tokens came."""
        if answer.usage is not None:
            return Charge.billed(answer.usage, answer.cost_nanos)
        return self._estimate(message, tokens)

    def failed(self, message: TaskMessage, error: BaseException, tokens: int) -> Charge:
        """Charge a call that has ended with this error: with nothing, where the provider cannot have billed it.

        Whatever is no error of ours has cut the call: the provider had its prompt.
        """
        usage = error.usage if isinstance(error, ModelError) else None
        if usage is None and not tokens:
            if isinstance(error, CallHeld | Unavailable):
                return NO_CHARGE
            if isinstance(error, ModelError) and error.code not in BEGUN:
                return NO_CHARGE
        if usage is not None:
            return Charge.billed(usage, self.prices.cost_nanos(message.task.model, usage))
        return self._estimate(message, tokens)

    def _estimate(self, message: TaskMessage, tokens: int) -> Charge:
        prompt = prompt_tokens(message)
        usage = Usage(prompt, tokens, prompt + tokens)
        return Charge.estimate(usage, self.prices.cost_nanos(message.task.model, usage))
