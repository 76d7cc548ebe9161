"""Handle SQS events of the dead-letter queues; return the messages that must stay there."""

from common.runtime import lambda_init

# isort: split
import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from common.runtime.metrics import Metric
from common.runtime.settings import StoreSettings
from common.runtime.telemetry import Telemetry
from common.store.backlog import BacklogStore
from common.store.client import connect
from common.store.tasks import TaskStore
from common.webhooks.publisher import WebhookPublisher
from functions.dead_letter.service import DeadLetter, DeadLetterOutcome, process_dead_letters

METRICS = {
    DeadLetterOutcome.FAILED: Metric.LETTERS_FAILED,
    DeadLetterOutcome.ALREADY: Metric.LETTERS_ALREADY,
    DeadLetterOutcome.BUSY: Metric.LETTERS_BUSY,
    DeadLetterOutcome.UNAVAILABLE: Metric.LETTERS_UNAVAILABLE,
    DeadLetterOutcome.UNREADABLE: Metric.LETTERS_UNREADABLE,
}

TELEMETRY = Telemetry.from_env(os.environ)
SETTINGS = StoreSettings.from_env(os.environ)
REDIS = connect(SETTINGS.redis)
BACKLOG = BacklogStore(REDIS)
STORE = TaskStore(REDIS, announcer=WebhookPublisher(SETTINGS.webhook_queue_url))

# One event loop for the lifetime of the environment: the client's connections are bound to it.
RUNNER = asyncio.Runner()


@TELEMETRY.observe
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Fail each task. The poller deletes every message that is not reported as failed."""
    del context
    letters = RUNNER.run(process_dead_letters(event["Records"], STORE, BACKLOG))
    for letter in letters:
        note(letter)
    return {"batchItemFailures": [{"itemIdentifier": each.message_id} for each in letters if not each.kind.is_done]}


def note(letter: DeadLetter) -> None:
    """Log a dead letter with ids only, and count it by its outcome."""
    facts = {"ending": letter.kind, "message_id": letter.message_id, "task_id": letter.task_id}
    TELEMETRY.logger.warning("dead letter", extra=facts)
    TELEMETRY.count(METRICS[letter.kind])


lambda_init.complete()
