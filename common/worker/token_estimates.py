"""Estimate how many tokens the call of a task uses, before and while it is made."""

from common.domain.message import TaskMessage
from common.domain.rate_limits import MOST_ANSWER_TOKENS
from common.kinds.registry import registration_of


def prompt_tokens(message: TaskMessage) -> int:
    """Estimate the tokens of a request."""
    return registration_of(message.request.kind).estimates.prompt_tokens(message.request.body)


def expected_tokens(message: TaskMessage) -> int:
    """Estimate the tokens of an answer, for its progress."""
    estimates = registration_of(message.request.kind).estimates
    return estimates.answer_tokens(message.request.body, message.expected_tokens)


def answer_tokens(message: TaskMessage) -> int:
    """Estimate the tokens of an answer, for rate limits: no more than any model answers."""
    return min(expected_tokens(message), MOST_ANSWER_TOKENS)
