"""Define what a task asks: a request of one of several kinds, as a tagged union. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Name the kinds of requests."""

    CHAT = "chat"
    """A chat completion of a model."""
    RESPONSES = "responses"
    """A response of a model, as POST /responses makes it."""
    EMBEDDINGS = "embeddings"
    """The embeddings of texts."""
    WORKFLOW = "workflow"
    """A run of a workflow of this service."""


@dataclass(frozen=True, slots=True)
class Request:
    """Hold a request: its kind, and its body as the caller wrote it.

    The body of a chat, responses or embeddings request is that of the provider's endpoint without what the worker sets,
    such as `model` and `stream`. The body of a workflow request is the input of the workflow. The body stays out of the
    repr, and so out of logs.
    """

    kind: Kind
    body: Mapping[str, Any] = field(repr=False)
