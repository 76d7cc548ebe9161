"""Classify why an answer ended: by itself, at its token limit, by a content filter, or by a fault of the provider.

There is no list that all providers keep to. The names below are those of OpenAI, Azure, Anthropic, Bedrock, Cohere,
DeepSeek, Gemini, Mistral, OpenRouter, watsonx, Zhipu and the open inference servers; case does not matter. Any other
reason is shown as it is.
"""

import re
from collections.abc import Iterator
from typing import Final

from common.domain.task import TRUNCATED, FailureCode

_TRUNCATED: Final = frozenset(
    {
        *("length", "max_length", "max_tokens", "max_output_tokens", "max_completion_tokens", "token_limit"),
        *("model_length", "model_context_window_exceeded", "context_length_exceeded", "error_limit"),
    }
)

_FAILURES: Final = {
    **dict.fromkeys(
        (
            *("content_filter", "content_filtered", "content_policy_violation", "safety", "refusal", "sensitive"),
            *("recitation", "prohibited_content", "blocklist", "spii", "model_armor", "guardrail_intervened"),
            *("image_safety", "image_prohibited_content", "image_recitation", "error_toxic"),
        ),
        FailureCode.CONTENT_POLICY,
    ),
    **dict.fromkeys(
        (
            *("error", "network_error", "internal_error", "server_error", "timeout", "time_limit"),
            *("insufficient_system_resource", "overloaded", "engine_overloaded"),
        ),
        FailureCode.SERVER_ERROR,
    ),
    **dict.fromkeys(("abort", "aborted", "cancel", "cancelled", "canceled"), FailureCode.STREAM_CUT),
    **dict.fromkeys(
        (
            *("malformed_function_call", "unexpected_tool_call", "malformed_tool_use"),
            *("malformed_response", "malformed_model_output"),
        ),
        FailureCode.UNREADABLE_ANSWER,
    ),
}

_SEPARATORS: Final = re.compile(r"[:.\s]+")
_PREFIX: Final = "finish_reason_"


def failure_of(reason: str) -> FailureCode | None:
    """Return the code of an answer that ended so; None where it is an answer."""
    return next((_FAILURES[word] for word in _words(reason) if word in _FAILURES), None)


def shown(reason: str) -> str:
    """Return the reason as a task shows it: every name of the token limit is `length`."""
    return TRUNCATED if any(word in _TRUNCATED for word in _words(reason)) else reason


def _words(reason: str) -> Iterator[str]:
    # Gemini's compatible endpoint writes "content_filter: SAFETY", gateways write an enum's member with its type.
    return (word.removeprefix(_PREFIX) for word in _SEPARATORS.split(reason.lower()))
