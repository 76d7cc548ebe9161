from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import boto3
import pytest
from redis import Redis

from common.settings import RedisSettings
from functions.workflow.workflow import Workflow
from local.model import StandIn
from tests.integration.worker.conftest import aws, model, valkey, worker_settings
from tests.integration.worker.environment import SECRET_NAME, imported_handler, new_queue
from tests.integration.workflow.environment import WorkflowEnvironment

__all__ = ["aws", "model", "valkey", "worker_settings"]

type Start = Callable[..., AbstractContextManager[WorkflowEnvironment]]


@pytest.fixture
def start(worker_settings: pytest.MonkeyPatch, model: tuple[str, StandIn], valkey: RedisSettings) -> Iterator[Start]:
    """Start environments of the workflow worker, with the workflows that ship or with a test's own, on one queue."""
    with Redis(host=valkey.host, port=valkey.port) as redis:
        redis.flushall()
    secrets_manager, sqs = boto3.client("secretsmanager"), boto3.client("sqs")
    secrets_manager.create_secret(Name=SECRET_NAME, SecretString="sk-test")
    queue_url = new_queue(sqs)
    worker_settings.setenv("QUEUE_URL", queue_url)
    worker_settings.setenv("DEFAULT_MODEL", "gpt-test")

    @contextmanager
    def started(*workflows: Workflow[Any]) -> Iterator[WorkflowEnvironment]:
        if workflows:
            worker_settings.setattr("functions.workflow.chains.WORKFLOWS", workflows)
        with imported_handler("functions.workflow.handler") as handler:
            yield WorkflowEnvironment(handler, sqs, queue_url, model[1], valkey)

    try:
        yield started
    finally:
        secrets_manager.delete_secret(SecretId=SECRET_NAME, ForceDeleteWithoutRecovery=True)
        sqs.delete_queue(QueueUrl=queue_url)
        secrets_manager.close()
        sqs.close()
