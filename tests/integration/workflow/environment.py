"""One Lambda environment of the workflow worker: its real handler on moto, Valkey and the stand-in model."""

from common.domain.message import TaskMessage
from common.domain.request import Kind, Request
from common.domain.task import TaskRecord, TaskRef
from tests.integration.worker.environment import WorkerEnvironment
from tests.store import record_of


class WorkflowEnvironment(WorkerEnvironment):
    """Start workflows, invoke the handler as Lambda does, and look at what is left."""

    def start(self, workflow: str, **given: object) -> TaskRef:
        """Do as submit does: record a task, then send its message."""
        [task] = self.record_batch(workflow, kind=Kind.WORKFLOW)
        self.put(TaskMessage(task, Request(Kind.WORKFLOW, given)))
        return task.ref

    def deliver(self, *, receives: int | None = None) -> int:
        """Deliver what is in the queue, due or not, and return how many messages have to come back."""
        for message in self.messages():
            message.change_visibility(0)
        event = self.receive()
        for record in event["Records"]:
            if receives is not None:
                record["attributes"]["ApproximateReceiveCount"] = str(receives)
        return len(self.invoke_raw(event))

    def task(self, ref: TaskRef) -> TaskRecord:
        """Read a task's record."""
        return record_of(self.redis, ref)
