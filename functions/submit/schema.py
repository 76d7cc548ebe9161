"""Declare the request bodies of POST /tasks and POST /workflows/{name}, field by field.

msgspec checks types and ranges. The rules that need more than one field are in parsing.py.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from common.domain.rate_limits import MOST_ANSWER_TOKENS
from common.domain.task import SHORTEST_RETENTION_SECONDS
from common.submission.limits import LONGEST_RETENTION_SECONDS, MOST_DEADLINE_SECONDS
from common.webhooks.model import BATCH_EVENTS, LONGEST_URL

type Text = Annotated[str, Meta(min_length=1)]
type CustomId = Annotated[str, Meta(min_length=1, max_length=256)]
type Metadata = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
"""As the model's own API takes it: up to 16 pairs, names of up to 64 characters, values of up to 512."""


class PromptBody(Struct, frozen=True, kw_only=True):
    """One prompt of a call. A plain string is short for `{"prompt": …}`."""

    prompt: str | None = None
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)] | None = None
    custom_id: CustomId | None = None
    model: Text | None = None
    system: str | None = None
    params: dict[str, Any] | None = None
    expected_tokens: Annotated[int, Meta(ge=1, le=MOST_ANSWER_TOKENS)] | None = None


class WebhookBody(Struct, frozen=True, kw_only=True):
    """The address to notify, and of which events; the default is the end of the batch."""

    url: Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]
    events: Annotated[list[str], Meta(min_length=1, max_length=len(BATCH_EVENTS))] | None = None


OBJECTS: Final = {"webhook": WebhookBody}
"""The fields of a call that hold objects, and the types of these."""


class Terms(Struct, frozen=True, kw_only=True):
    """The terms of all tasks of a call, of any kind."""

    metadata: Metadata | None = None
    webhook: WebhookBody | None = None
    deadline_seconds: Annotated[int, Meta(ge=1, le=MOST_DEADLINE_SECONDS)] | None = None
    retention_seconds: Annotated[int, Meta(ge=SHORTEST_RETENTION_SECONDS, le=LONGEST_RETENTION_SECONDS)] | None = None


class RequestBody(Struct, frozen=True, kw_only=True):
    """One request of a call to an endpoint, as a line of an OpenAI batch file has it.

    `method` and `url` may be left out: they are always POST and the endpoint.
    """

    body: dict[str, Any]
    custom_id: CustomId | None = None
    method: Literal["POST"] | None = None
    url: str | None = None


class CallBody(Terms, frozen=True, kw_only=True):
    """The request body: `prompts`, or a `template` and its `inputs`, or an `endpoint` and its `requests`.

    `model` is the default of each item. `system` and `params` are defaults of each prompt.
    """

    prompts: list[Any] | None = None
    template: str | None = None
    inputs: list[dict[str, Any]] | None = None
    endpoint: str | None = None
    requests: list[Any] | None = None
    model: Text | None = None
    system: str | None = None
    params: dict[str, Any] | None = None


class WorkflowBody(Terms, frozen=True, kw_only=True):
    """The request body to start a workflow. The workflow's own schema describes an input."""

    inputs: list[dict[str, Any]]


class NamedInput(Struct, frozen=True):
    """The field of a workflow's input that Sluice takes: it names the task."""

    custom_id: CustomId | None
