"""Register the kinds of requests: the one place that says what differs between them.

A kind is a package with one module for each concern. Each module is imported at its first use, by its name: submit does
not import what the worker reads responses with, and the worker does not import what submit validates with.
"""

from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from common.domain.backlog import BacklogQueue
from common.domain.request import Kind
from common.domain.task import Answer, ToolCall


class Estimates(Protocol):
    """Estimate tokens, for rate limits, charges and progress: the module `estimates`. Standard library only."""

    def prompt_tokens(self, body: Mapping[str, Any], /) -> int:
        """Return an estimate of the tokens of a request."""

    def answer_tokens(self, body: Mapping[str, Any], expected: int | None, /) -> int:
        """Return an estimate of the tokens of its answer; `expected` is the caller's own."""


class Views(Protocol):
    """Derive what a task shows from the stored response: the module `views`. Standard library only.

    The text is stored once, beside the response.
    """

    def stored_response(self, answer: Answer, /) -> Mapping[str, Any] | None:
        """Return the response to store with an answer, None where text and finish reason say all."""

    def full_response(self, response: Mapping[str, Any], text: str, /) -> dict[str, Any]:
        """Return a stored response with its text put back."""

    def tool_calls_of(self, response: Mapping[str, Any] | None, /) -> tuple[ToolCall, ...]:
        """Return the tool calls of a stored response, in their order."""

    def refusal_of(self, response: Mapping[str, Any] | None, /) -> str | None:
        """Return the text in which the model refused to answer."""


class Upstream(Protocol):
    """Call the provider's endpoint: the module `upstream`."""

    PATH: str
    """The path of the endpoint, behind the base URL."""

    def encode(self, model: str, body: Mapping[str, Any], /) -> bytes:
        """Return the body of the HTTP request; raise ModelRefused where none can carry it."""

    async def read(self, chunks: AsyncIterable[bytes], on_text: Callable[[str], None], /, *, ends_at: float) -> Answer:
        """Read the body of the HTTP response, streamed or whole; raise ModelError where it has no answer.

        `on_text` receives each piece of the text. `ends_at` is the moment of the loop's clock at which the caller ends
        the call.
        """


@dataclass(frozen=True, slots=True)
class Registration:
    """Say where the code of a kind is, and which queue its tasks go to.

    `namespace` is the prefix of its models' names in the API, in API keys and in metrics; it keeps the names of
    workflows apart from the names of models. A kind without an upstream is answered by a worker of its own.
    """

    package: str
    queue: BacklogQueue
    namespace: str = ""
    has_upstream: bool = True

    @property
    def estimates(self) -> Estimates:
        """Return how its tokens are estimated."""
        return cast("Estimates", _module(f"{self.package}.estimates"))

    @property
    def upstream(self) -> Upstream:
        """Return how the provider is called."""
        return cast("Upstream", _module(f"{self.package}.upstream"))

    @property
    def views(self) -> Views:
        """Return what is derived from its responses."""
        return cast("Views", _module(f"{self.package}.views"))


REGISTRATIONS: Final[Mapping[Kind, Registration]] = MappingProxyType(
    {
        Kind.CHAT: Registration("common.kinds.chat", BacklogQueue.TASKS),
        Kind.WORKFLOW: Registration(
            "common.kinds.workflow", BacklogQueue.WORKFLOWS, namespace="workflow/", has_upstream=False
        ),
    }
)
"""The registration of each kind."""


def registration_of(kind: Kind) -> Registration:
    """Return the registration of a kind."""
    return REGISTRATIONS[kind]


def public_model(kind: Kind, model: str) -> str:
    """Return the name that the API, API keys and metrics use for what answers a task.

    It is unique across all kinds: `gpt-5-mini` for a model, `workflow/story` for the workflow `story`.
    """
    return REGISTRATIONS[kind].namespace + model


@cache
def _module(name: str) -> object:
    return import_module(name)
