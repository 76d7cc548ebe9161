"""One Lambda environment of the workflow worker: its real handler on moto, Valkey and the stand-in model."""

import secrets
import time

from common.messages import TaskMessage
from common.tasks import WORKFLOW_PREFIX, NewBatch, Task, TaskRecord, TaskRef, new_batch_id
from tests.integration.worker.environment import WorkerEnvironment


class WorkflowEnvironment(WorkerEnvironment):
    """Start workflows, invoke the handler as Lambda does, and look at what is left."""

    def start(self, workflow: str, **given: object) -> TaskRef:
        """Do as submit does: record a task, then send its message."""
        now_ms = time.time_ns() // 1_000_000
        model = WORKFLOW_PREFIX + workflow
        batch_id = new_batch_id(now_ms, secrets.token_bytes(16))
        batch = NewBatch("acme", batch_id, (model,), (None,), 3_600_000, 86_400_000)
        created = self.on_store(lambda store: store.create(batch))
        ref = TaskRef("acme", batch.batch_id, 0)
        task = Task(ref, 1, created.created_ms, created.deadline_ms, batch.retention_ms, model)
        body = TaskMessage(task, [], input=given).encode()
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)
        return ref

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
        [record] = self.on_store(lambda store: store.read([ref]))
        assert record is not None
        return record
