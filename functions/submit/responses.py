"""Build the responses of accepted calls and retries: their bodies, status and headers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from common.api.missing import NOT_FOUND
from common.api.pagination import fill_page
from common.api.serializers import ENDED, Body, show_missing, show_task, status_of_all, time_of
from common.domain.task import TaskRecord, TaskRef, TaskStatus
from common.submission.model import Accepted, Prompt
from functions.submit.retry import Retried

RETRY_AFTER_SECONDS: Final = 1
"""The delay before a client polls the tasks for the first time."""

MOST_LINKED: Final = 50
"""Tasks in one link: 2,000 characters, which every client and proxy takes."""


@dataclass(frozen=True, slots=True)
class SubmitResponse:
    """Hold an HTTP response; `retry_after` is in seconds, None if all tasks have ended."""

    status: HTTPStatus
    body: str = field(repr=False)
    headers: dict[str, str]
    retry_after: int | None = RETRY_AFTER_SECONDS


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
        """Build the body; `root` is the relative path from the call's URL to the folder of `tasks` and `batches`."""
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
        """Encode it as JSON."""
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
        """Build the body."""
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
            not_retried=[
                LeftTaskBody(task.ref.task_id, task.reason.value, task.retried_as) for task in retried.skipped
            ],
            links=_links(accepted.batch_id, task_ids, root="../../"),
        )

    def encode(self) -> str:
        """Encode it as JSON."""
        return msgspec.json.encode(self).decode()


class ResultReader(Protocol):
    """Read records. Raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the given order, None for an unknown one."""


def accepted_response(accepted: Accepted, body: AcceptedBody) -> SubmitResponse:
    """Build the response 202 of an accepted call."""
    return SubmitResponse(HTTPStatus.ACCEPTED, body.encode(), _headers(accepted, body.links))


def retried_response(retried: Retried) -> SubmitResponse:
    """Build the response 202 of an accepted retry."""
    body = RetriedBody.of(retried)
    return SubmitResponse(HTTPStatus.ACCEPTED, body.encode(), _headers(retried.accepted, body.links))


async def held_response(store: ResultReader, accepted: Accepted, body: AcceptedBody, root: str = "") -> SubmitResponse:
    """Build the response of a call that was held: the tasks in full, 200 if all have ended and 202 otherwise.

    Args:
        store: where the records are.
        accepted: the call.
        body: the body of its response 202.
        root: the relative path from the call's URL to the folder of `tasks`; empty from there.

    Raises:
        StoreUnavailable: Redis does not answer; the call is accepted all the same.

    """
    shown = await _in_full(store, body, accepted.refs, root)
    headers = _headers(accepted, body.links)
    if shown["status"] == ENDED:
        return SubmitResponse(HTTPStatus.OK, json.dumps(shown), headers, retry_after=None)
    return SubmitResponse(HTTPStatus.ACCEPTED, json.dumps(shown), headers)


def _headers(accepted: Accepted, links: dict[str, str]) -> dict[str, str]:
    replayed = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    return {"Location": links["batch"], **replayed}


async def _in_full(store: ResultReader, accepted: AcceptedBody, refs: Sequence[TaskRef], root: str) -> dict[str, Any]:
    """Return the body with the tasks in full; `next` is the link to those that do not fit."""
    # A task without a record counts as over, as it does for a call that waits.
    status = status_of_all(await store.read(refs, with_text=False), lost_are_over=True)
    body: dict[str, Any] = msgspec.to_builtins(accepted) | {"status": status, "tasks": []}

    async def show(chunk: Sequence[TaskRef]) -> list[Body]:
        found = zip(chunk, await store.read(chunk), strict=True)
        return [show_task(record) if record else show_missing(ref.task_id, NOT_FOUND) for ref, record in found]

    shown = await fill_page(refs, show, beside=body)
    body["tasks"] = shown
    if omitted := accepted.task_ids[len(shown) :]:
        body["next"] = f"{root and f'{root}tasks'}?task_ids={','.join(omitted)}"
    return body


def _links(batch_id: str, task_ids: Sequence[str], *, root: str = "") -> dict[str, str]:
    links = {"batch": f"{root}batches/{batch_id}"}
    if len(task_ids) <= MOST_LINKED:
        links["tasks"] = f"{root}tasks?task_ids={','.join(task_ids)}"
    return links
