"""Derive the views of stored embeddings. Standard library only.

Embeddings are stored as base64 of float32, with the encoding that the caller asked for. As numbers they take three
times the memory.
"""

from collections.abc import Mapping
from typing import Any, Final

from common.domain.task import Answer, ToolCall
from common.kinds.embeddings.vectors import decoded

HAS_TEXT: Final = False
"""Whether its tasks have a text."""

ENCODING: Final = "encoding_format"
"""The field of a stored response that says in which encoding it is shown; it has the values of the API's param."""

BASE64: Final = "base64"


def stored_response(answer: Answer, /) -> Mapping[str, Any] | None:
    """Return the response to store with an answer."""
    return answer.response


def full_response(response: Mapping[str, Any], text: str, /) -> dict[str, Any]:  # noqa: ARG001  # the signature of every kind
    """Return stored embeddings in the encoding that the caller asked for."""
    shown = {name: value for name, value in response.items() if name != ENCODING}
    if response[ENCODING] != BASE64:
        shown["data"] = [{**each, "embedding": decoded(each["embedding"])} for each in response["data"]]
    return shown


def tool_calls_of(response: Mapping[str, Any] | None, /) -> tuple[ToolCall, ...]:  # noqa: ARG001  # as above
    """Return none."""
    return ()


def refusal_of(response: Mapping[str, Any] | None, /) -> str | None:  # noqa: ARG001  # as above
    """Return None."""
    return None
