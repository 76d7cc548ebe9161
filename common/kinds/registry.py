"""Register the kinds of requests: the one place that says what differs between them.

A kind is a package with one module for each concern. Each module is imported at its first use, by its name: submit does
not import what the worker reads responses with, and the worker does not import what submit validates with.
"""

from collections.abc import AsyncIterable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from common.domain.backlog import BacklogQueue
from common.domain.request import Kind
from common.domain.task import Answer, ToolCall, Usage


class Estimates(Protocol):
    """Estimate tokens, for rate limits, charges and progress: the module `estimates`. Standard library only."""

    def prompt_tokens(self, body: Mapping[str, Any], /) -> int:
        """Return an estimate of the tokens of a request."""

    def answer_tokens(self, body: Mapping[str, Any], expected: int | None, /) -> int:
        """Return an estimate of the tokens of its answer; `expected` is the caller's own."""


class Validation(Protocol):
    """Validate requests: the module `validation`, which uses msgspec. Absent where a kind has no endpoint."""

    def parse_body(self, body: Mapping[str, Any], place: str, /) -> dict[str, Any]:
        """Return what is queued of the body of the endpoint; raise CallerError.

        `place` is the JSON pointer of the body. Values that are null, and fields that Sluice sets itself, are left out.
        """


class Views(Protocol):
    """Derive what a task shows from the stored response: the module `views`. Standard library only.

    The text is stored once, beside the response.
    """

    HAS_TEXT: bool
    """Whether its tasks have a text, and with it a reason why that ended."""

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

    async def read(
        self,
        body: Mapping[str, Any],
        chunks: AsyncIterable[bytes],
        on_text: Callable[[str], None],
        /,
        *,
        ends_at: float,
    ) -> Answer:
        """Read the body of the HTTP response, streamed or whole; raise ModelError where it has no answer.

        `body` is that of the request. `on_text` receives each piece of the text. `ends_at` is the moment of the loop's
        clock at which the caller ends the call.
        """


class Joint(Protocol):
    """Send several requests in one call: the module `joint`."""

    MOST_ITEMS: int
    """Items of one call, at most."""

    MOST_TOKENS: int
    """Estimated tokens of one call, at most."""

    def group_of(self, body: Mapping[str, Any], /) -> Hashable:
        """Return what the requests of one call have in common, beside tenant and model."""

    def items_of(self, body: Mapping[str, Any], /) -> int:
        """Return how many items a request has."""

    def joined(self, bodies: Sequence[Mapping[str, Any]], /) -> dict[str, Any]:
        """Return the body of one call for all requests."""

    def split(self, answer: Answer, bodies: Sequence[Mapping[str, Any]], /) -> list[Answer]:
        """Return the part of the answer that belongs to each request, with its share of the usage."""

    def shares(self, usage: Usage | None, bodies: Sequence[Mapping[str, Any]], /) -> list[Usage | None]:
        """Divide the usage of one call among its requests; the sums are equal to the whole."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Locate the code of a kind, and name the queue of its tasks.

    `namespace` is the prefix of its models' names in the API, in API keys and in metrics; it keeps the names of
    workflows apart from the names of models. `endpoint` is the path of OpenAI's API whose bodies the kind takes. A kind
    without an upstream is answered by a worker of its own. The requests of a kind that is joint may share a call.
    """

    package: str
    queue: BacklogQueue
    namespace: str = ""
    endpoint: str | None = None
    has_upstream: bool = True
    is_joint: bool = False

    @property
    def validation(self) -> Validation:
        """Return how the bodies of its endpoint are validated."""
        return cast("Validation", _module(f"{self.package}.validation"))

    @property
    def estimates(self) -> Estimates:
        """Return how its tokens are estimated."""
        return cast("Estimates", _module(f"{self.package}.estimates"))

    @property
    def upstream(self) -> Upstream:
        """Return how the provider is called."""
        return cast("Upstream", _module(f"{self.package}.upstream"))

    @property
    def joint(self) -> Joint:
        """Return how its requests share a call."""
        return cast("Joint", _module(f"{self.package}.joint"))

    @property
    def views(self) -> Views:
        """Return what is derived from its responses."""
        return cast("Views", _module(f"{self.package}.views"))


REGISTRATIONS: Final[Mapping[Kind, Registration]] = MappingProxyType(
    {
        Kind.CHAT: Registration("common.kinds.chat", BacklogQueue.TASKS, endpoint="/v1/chat/completions"),
        Kind.RESPONSES: Registration("common.kinds.responses", BacklogQueue.TASKS, endpoint="/v1/responses"),
        Kind.EMBEDDINGS: Registration(
            "common.kinds.embeddings", BacklogQueue.TASKS, endpoint="/v1/embeddings", is_joint=True
        ),
        Kind.WORKFLOW: Registration(
            "common.kinds.workflow", BacklogQueue.WORKFLOWS, namespace="workflow/", has_upstream=False
        ),
    }
)
"""The registration of each kind."""


def registration_of(kind: Kind) -> Registration:
    """Return the registration of a kind."""
    return REGISTRATIONS[kind]


def kinds_by_endpoint() -> dict[str, Kind]:
    """Return the kinds whose bodies are those of an endpoint, by its path."""
    return {each.endpoint: kind for kind, each in REGISTRATIONS.items() if each.endpoint is not None}


def public_model(kind: Kind, model: str) -> str:
    """Return the name that the API, API keys and metrics use for what answers a task.

    It is unique across all kinds: `gpt-5-mini` for a model, `workflow/story` for the workflow `story`.
    """
    return REGISTRATIONS[kind].namespace + model


@cache
def _module(name: str) -> object:
    return import_module(name)
