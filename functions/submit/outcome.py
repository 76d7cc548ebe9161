"""Show what has become of an accepted call whose answer was held until its tasks had ended."""

import json
from collections.abc import Sequence
from itertools import batched
from typing import Any, Final, Protocol

import msgspec

from common.absence import NOT_FOUND
from common.tasks import TaskRecord, TaskRef, TaskStatus
from common.views import ENDED, Body, show_absent, show_task
from functions.submit.schema import AcceptedBody

MOST_BYTES: Final = 5_000_000
"""Of the 6 MB that Lambda answers with; the ids of a thousand tasks and their link take some of them."""

CHUNK: Final = 100
"""Tasks read at once, results and all."""


class TaskReader(Protocol):
    """Read records. Raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the order asked, None for an unknown one."""


async def in_full(store: TaskReader, accepted: AcceptedBody, refs: Sequence[TaskRef]) -> dict[str, Any]:
    """Return the body of the answer with the tasks in full; `next` asks for those that did not fit.

    Raises:
        StoreUnavailable: the call was accepted all the same.

    """
    status = _status_of(await store.read(refs, with_text=False))
    body: dict[str, Any] = msgspec.to_builtins(accepted) | {"status": status}
    shown: list[Body] = []
    room = MOST_BYTES
    for chunk in batched(refs, CHUNK, strict=False):
        for ref, record in zip(chunk, await store.read(chunk), strict=True):
            task = show_task(record) if record else show_absent(ref.task_id, NOT_FOUND)
            # Twice, as Lambda does: the body is a string inside the JSON of its answer.
            room -= len(json.dumps(json.dumps(task)))
            if room < 0 and shown:
                left = ",".join(accepted.task_ids[len(shown) :])
                return body | {"tasks": shown, "next": f"?task_ids={left}"}
            shown.append(task)
    return body | {"tasks": shown}


def _status_of(records: Sequence[TaskRecord | None]) -> str:
    statuses = {record.status for record in records if record}
    if statuses == {TaskStatus.QUEUED}:
        return TaskStatus.QUEUED.value
    return ENDED if all(status.is_terminal for status in statuses) else TaskStatus.PROCESSING.value
