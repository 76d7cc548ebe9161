"""Run the scripts of the task store on one or many tasks, and publish the events that are due after transitions."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from common.domain.errors import StoreUnavailable
from common.domain.task import Task, TaskRef
from common.store import codec, keys
from common.store.chunks import by_batch, in_order
from common.store.client import Client, redis_errors
from common.store.scripts import Arguments, ScriptCall, Scripts
from common.store.webhook_deliveries import WebhookDeliveryStore


class TaskScripts:
    """Every method raises StoreUnavailable when Redis does not answer, and may then be repeated."""

    def __init__(self, client: Client, scripts: Scripts, deliveries: WebhookDeliveryStore) -> None:
        """Take an open client, which the caller closes, and the store that publishes events."""
        self._client = client
        self._scripts = scripts
        self._deliveries = deliveries

    async def command(self, call: ScriptCall) -> Any:  # noqa: ANN401  # a script answers any type
        """Run one script of commands/ and return its answer."""
        with redis_errors():
            return await self._scripts.run(self._client, call)

    async def commands(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts of commands/ in one pipeline and return their answers in order."""
        with redis_errors():
            return await self._scripts.run_many(self._client, calls)

    async def commands_on_tasks(
        self, script: str, refs: Sequence[TaskRef], chunk: int, items: Sequence[Arguments] = ()
    ) -> list[Any]:
        """Run a script over tasks of any batches in one pipeline, with an item for each task or none.

        Return the answers in the order of the tasks.
        """
        chunks = list(by_batch(refs, chunk))
        calls = [
            ScriptCall(
                script,
                [keys.task_key(refs[place]) for place in places],
                items=[items[place] for place in places] if items else (),
            )
            for places in chunks
        ]
        return in_order(chunks, await self.commands(calls))

    async def transition(self, script: str, ref: TaskRef, args: Arguments) -> Any:  # noqa: ANN401  # as command's
        """Run a script of transitions/ on one task, publish the event that is due, and return the answer."""
        answer, event = await self.unpublished_transition(script, ref, args)
        await self._deliveries.publish(ref.tenant, ref.batch_id, event)
        return answer

    async def rebuilding_transition(self, script: str, task: Task, args: Arguments) -> Any:  # noqa: ANN401  # as command's
        """Run a transition that first rebuilds a record that Redis has lost."""
        return await self.transition(script, task.ref, {"header": codec.write_header(task), **args})

    async def unpublished_transition(self, script: str, ref: TaskRef, args: Arguments) -> tuple[Any, Any]:
        """Run a transition on one task; return its answer and the event that is due, None where there is none."""
        answer, *event = await self.command(ScriptCall(script, task_and_batch_keys(ref), args))
        return answer, event[0] if event else None

    async def transitions(self, script: str, refs: Sequence[TaskRef], args: Arguments, chunk: int) -> list[Any]:
        """Run a transition on tasks of any batches, in one pipeline, for a caller without their messages.

        An event that cannot be published now is left to the callers that hold the messages.
        """
        chunks = list(by_batch(refs, chunk))
        calls = [
            ScriptCall(script, [*(keys.task_key(refs[place]) for place in places), _batch_key(refs[places[0]])], args)
            for places in chunks
        ]
        answers = await self.commands(calls)
        for places, (_, *event) in zip(chunks, answers, strict=True):
            ref = refs[places[0]]
            with suppress(StoreUnavailable):
                await self._deliveries.publish(ref.tenant, ref.batch_id, *event)
        return in_order(chunks, [answer for answer, *_ in answers])


def task_and_batch_keys(ref: TaskRef) -> list[str]:
    """Return the keys of a task and of its batch."""
    return [keys.task_key(ref), _batch_key(ref)]


def _batch_key(ref: TaskRef) -> str:
    return keys.batch_key(ref.tenant, ref.batch_id)
