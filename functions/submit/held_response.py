"""Show what has become of an accepted call whose answer was held until its tasks had ended."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from common.api.missing import NOT_FOUND
from common.api.pagination import fill_page
from common.api.serializers import Body, show_missing, show_task, status_of_all
from common.domain.task import TaskRecord, TaskRef
from functions.submit.schema import AcceptedBody


class ResultReader(Protocol):
    """Read records. Raises StoreUnavailable where Redis does not answer."""

    async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
        """Read tasks in the order asked, None for an unknown one."""


async def in_full(
    store: ResultReader, accepted: AcceptedBody, refs: Sequence[TaskRef], root: str = ""
) -> dict[str, Any]:
    """Return the body of the answer with the tasks in full; `next` asks for those that did not fit.

    `root` leads from the call's URL to the folder of `tasks`; it is empty from there.

    Raises:
        StoreUnavailable: the call was accepted all the same.

    """
    # As for who waits: what has no record is not waited for.
    status = status_of_all(await store.read(refs, with_text=False), lost_are_over=True)
    body: dict[str, Any] = msgspec.to_builtins(accepted) | {"status": status, "tasks": []}

    async def show(chunk: Sequence[TaskRef]) -> list[Body]:
        found = zip(chunk, await store.read(chunk), strict=True)
        return [show_task(record) if record else show_missing(ref.task_id, NOT_FOUND) for ref, record in found]

    shown = await fill_page(refs, show, beside=body)
    body["tasks"] = shown
    if left := accepted.task_ids[len(shown) :]:
        body["next"] = f"{root and f'{root}tasks'}?task_ids={','.join(left)}"
    return body
