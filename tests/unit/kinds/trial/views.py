"""Derive the views of a trial answer, whose response names one tool and one refusal."""

from collections.abc import Mapping
from typing import Any

from common.domain.task import Answer, ToolCall

HAS_TEXT = True


def stored_response(answer: Answer, /) -> Mapping[str, Any] | None:
    return {"tool": "dig", "no": "never", "size": len(answer.text)}


def full_response(response: Mapping[str, Any], text: str, /) -> dict[str, Any]:
    return {**response, "said": text}


def tool_calls_of(response: Mapping[str, Any] | None, /) -> tuple[ToolCall, ...]:
    return (ToolCall("1", response["tool"], "{}"),) if response else ()


def refusal_of(response: Mapping[str, Any] | None, /) -> str | None:
    return response["no"] if response else None
