"""Keep the finished steps of workflows, so that a task which is delivered again does not pay for them again."""

from common.domain.task import Task, TaskRef
from common.domain.transitions import KeptStep
from common.store import codec, keys
from common.store.client import Client, redis_errors
from common.store.scripts import ScriptCall, Scripts, read_sources
from common.store.spending import Spending


class CheckpointStore:
    """Keep one hash per task of a workflow, on the slot of its record, until the task's deadline.

    Every method raises StoreUnavailable when Redis does not answer. Each is safe to repeat.
    """

    def __init__(self, client: Client, scripts: Scripts | None = None) -> None:
        """Take an open client, which the caller closes; tests hand in scripts with a clock of their own."""
        self._client = client
        self._scripts = scripts or Scripts(read_sources())
        self._spending = Spending(client, self._scripts)

    async def steps(self, ref: TaskRef) -> dict[str, str]:
        """Return the steps that are done, by name."""
        with redis_errors():
            flat = await self._client.execute_command("HGETALL", keys.steps_key(ref))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {codec.read_text(name): codec.read_text(step) for name, step in pairs}

    async def checkpoint(self, task: Task, owner: str, kept: KeptStep) -> bool:
        """Keep a step, book what it has cost, and restart the count of attempts here.

        Answer whether the owner still holds the task; where it does not, nothing is kept or booked.
        """
        ref = task.ref
        call = ScriptCall(
            "checkpoint",
            [keys.task_key(ref), keys.steps_key(ref), keys.batch_key(ref.tenant, ref.batch_id)],
            {
                "owner": owner,
                "deadline_ms": task.deadline_ms,
                "name": kept.name,
                "step": kept.text,
                "charge": codec.write_charge(kept.charge),
            },
        )
        with redis_errors():
            is_kept, now_ms = await self._scripts.run(self._client, call)
        if is_kept:
            await self._spending.book(keys.charged_key(ref, kept.name), ref.tenant, kept.charge, now_ms)
        return bool(is_kept)
