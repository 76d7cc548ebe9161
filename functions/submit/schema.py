"""The bodies of POST /tasks: what may be sent, field by field, and what is answered.

msgspec checks types and ranges; the rules that need more than one field are in call.py and conversation.py.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from common.api.serializers import time_of
from common.domain.rate_limits import MOST_ANSWER_TOKENS
from common.domain.task import SHORTEST_RETENTION_SECONDS, TaskStatus
from common.submission.limits import LONGEST_RETENTION_SECONDS, MOST_DEADLINE_SECONDS
from common.submission.service import Accepted, Prompt
from common.webhooks.model import LONGEST_URL, WebhookEvent
from functions.submit.retry import Retried

MOST_LINKED: Final = 50
"""Tasks in one link: 2,000 characters, which every client and proxy takes."""

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
    events: Annotated[list[str], Meta(min_length=1, max_length=len(WebhookEvent))] | None = None


OBJECTS: Final = {"webhook": WebhookBody}
"""The fields of a call that hold objects, and the types of these."""


class Terms(Struct, frozen=True, kw_only=True):
    """What holds for all tasks of a call, whatever they ask."""

    metadata: Metadata | None = None
    webhook: WebhookBody | None = None
    deadline_seconds: Annotated[int, Meta(ge=1, le=MOST_DEADLINE_SECONDS)] | None = None
    retention_seconds: Annotated[int, Meta(ge=SHORTEST_RETENTION_SECONDS, le=LONGEST_RETENTION_SECONDS)] | None = None


class CallBody(Terms, frozen=True, kw_only=True):
    """The request body: either `prompts`, or a `template` and its `inputs`.

    The other fields are defaults for each prompt.
    """

    prompts: list[Any] | None = None
    template: str | None = None
    inputs: list[dict[str, Any]] | None = None
    model: Text | None = None
    system: str | None = None
    params: dict[str, Any] | None = None


class WorkflowBody(Terms, frozen=True, kw_only=True):
    """The request body to start a workflow. The workflow's own schema describes an input."""

    inputs: list[dict[str, Any]]


class AcceptedTask(Struct, frozen=True):
    """One task of the response. A task starts as queued."""

    task_id: str
    custom_id: str | None
    status: str = TaskStatus.QUEUED.value


class AcceptedBody(Struct, frozen=True, kw_only=True):
    """The response 202. `links` are relative to the URL of the call: valid behind any stage, proxy or domain."""

    batch_id: str
    task_ids: list[str]
    status: str = TaskStatus.QUEUED.value
    created_at: str
    deadline_at: str
    expires_at: str
    tasks: list[AcceptedTask]
    links: dict[str, str]

    @classmethod
    def of(cls, accepted: Accepted, prompts: Sequence[Prompt], root: str = "") -> "AcceptedBody":
        """Show an accepted call; `root` leads from its URL to the folder of `tasks` and `batches`."""
        task_ids = [ref.task_id for ref in accepted.refs]
        tasks = [
            AcceptedTask(ref.task_id, prompt.custom_id) for ref, prompt in zip(accepted.refs, prompts, strict=True)
        ]
        return cls(
            batch_id=accepted.batch_id,
            task_ids=task_ids,
            created_at=time_of(accepted.created_ms),
            deadline_at=time_of(accepted.deadline_ms),
            expires_at=time_of(accepted.expires_ms),
            tasks=tasks,
            links=_links(accepted.batch_id, task_ids, root=root),
        )

    def encode(self) -> str:
        """Write it as JSON."""
        return msgspec.json.encode(self).decode()


class RetriedTask(Struct, frozen=True):
    """One new task of a retry. `retry_of` is the id of the failed task; null if that has expired."""

    task_id: str
    custom_id: str | None
    retry_of: str | None
    status: str = TaskStatus.QUEUED.value


class LeftTaskBody(Struct, frozen=True, omit_defaults=True):
    """A failed task that was not retried. `retried_as` is the id of the task that an earlier retry created."""

    task_id: str
    code: str
    retried_as: str | None = None


class RetriedBody(Struct, frozen=True, kw_only=True):
    """The response 202 of a retry. `links` are relative to the URL of the call."""

    batch_id: str
    task_ids: list[str]
    status: str = TaskStatus.QUEUED.value
    created_at: str
    deadline_at: str
    expires_at: str
    tasks: list[RetriedTask]
    not_retried: list[LeftTaskBody]
    links: dict[str, str]

    @classmethod
    def of(cls, retried: Retried) -> "RetriedBody":
        """Show an accepted retry."""
        accepted = retried.accepted
        task_ids = [ref.task_id for ref in accepted.refs]
        olds = [(ref, retried.of.get(ref.index)) for ref in accepted.refs]
        return cls(
            batch_id=accepted.batch_id,
            task_ids=task_ids,
            created_at=time_of(accepted.created_ms),
            deadline_at=time_of(accepted.deadline_ms),
            expires_at=time_of(accepted.expires_ms),
            tasks=[
                RetriedTask(ref.task_id, old.custom_id if old else None, old.ref.task_id if old else None)
                for ref, old in olds
            ],
            not_retried=[LeftTaskBody(left.ref.task_id, left.why.value, left.retried_as) for left in retried.left],
            links=_links(accepted.batch_id, task_ids, root="../../"),
        )

    def encode(self) -> str:
        """Write it as JSON."""
        return msgspec.json.encode(self).decode()


def _links(batch_id: str, task_ids: Sequence[str], *, root: str = "") -> dict[str, str]:
    links = {"batch": f"{root}batches/{batch_id}"}
    if len(task_ids) <= MOST_LINKED:
        links["tasks"] = f"{root}tasks?task_ids={','.join(task_ids)}"
    return links
