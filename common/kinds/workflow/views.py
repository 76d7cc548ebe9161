"""Derive the views of a workflow's answer: it has a text, and no response of a provider."""

from collections.abc import Mapping
from typing import Any, Final

from common.domain.task import Answer, ToolCall

HAS_TEXT: Final = True
"""Whether its tasks have a text."""


def stored_response(answer: Answer, /) -> Mapping[str, Any] | None:
    """Return the response, which is None: the text and the finish reason say all."""
    return answer.response


def full_response(response: Mapping[str, Any], text: str, /) -> dict[str, Any]:  # noqa: ARG001  # the signature of every kind
    """Return the response as it is stored."""
    return dict(response)


def tool_calls_of(response: Mapping[str, Any] | None, /) -> tuple[ToolCall, ...]:  # noqa: ARG001  # the signature of every kind
    """Return no calls: the tools of a chain run within it."""
    return ()


def refusal_of(response: Mapping[str, Any] | None, /) -> str | None:  # noqa: ARG001  # the signature of every kind
    """Return None: what a model of a chain refuses, the chain itself sees."""
    return None
