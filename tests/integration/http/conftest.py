"""Fixtures for the real handlers: moto's server as AWS, and a single or clustered Valkey."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import boto3
import pytest

from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from tests.aws import aws, aws_variables
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue
from tests.invocation import started
from tests.valkey import redis_variables, valkey, valkey_cluster

__all__ = ["aws", "started", "valkey", "valkey_cluster"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, aws: str) -> pytest.MonkeyPatch:
    """Set what every function has in its environment."""
    # Only the length of the bound differs: on a busy machine the server may get no processor for the 2 s of production.
    monkeypatch.setattr("common.store.client.SOCKET_TIMEOUT_SECONDS", 20.0)
    for name, value in {
        **aws_variables(aws),
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "POWERTOOLS_SERVICE_NAME": "test",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@contextmanager
def made_queue() -> Iterator[Queue]:
    """Make a queue of the test's own: moto gets slow with a queue's depth."""
    client = boto3.client("sqs")
    url = client.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    yield Queue(client, url)
    client.delete_queue(QueueUrl=url)
    client.close()


@pytest.fixture
def queue(environment: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Make the queue of prompts."""
    del environment
    with made_queue() as made:
        yield made


@pytest.fixture
def workflow_queue(environment: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Make the queue of workflows."""
    del environment
    with made_queue() as made:
        yield made


@pytest.fixture
def webhooks(environment: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Make the queue of events."""
    del environment
    with made_queue() as made:
        yield made


@pytest.fixture(params=["valkey", "valkey_cluster"])
def redis(request: pytest.FixtureRequest) -> RedisSettings:
    """Run the test on a single server and on a cluster."""
    settings: RedisSettings = request.getfixturevalue(request.param)
    return settings


@pytest.fixture
def api(
    environment: pytest.MonkeyPatch, queue: Queue, workflow_queue: Queue, webhooks: Queue, redis: RedisSettings
) -> Iterator[Api]:
    """Start the functions behind the API as Lambda does: their handlers are imported afresh, in this environment."""
    for name, value in {
        **redis_variables(redis),
        "QUEUE_URL": queue.url,
        "WORKFLOW_QUEUE_URL": workflow_queue.url,
        "WEBHOOK_QUEUE_URL": webhooks.url,
        "ALLOWED_MODELS": "small,large,embedder",
        "EMBEDDING_MODELS": "embedder",
        "MAX_PROMPTS": "50",
        "MAX_PROMPT_BYTES": "100000",
    }.items():
        environment.setenv(name, value)
    submit, status, cancel, openai = (started(name) for name in ("submit", "status", "cancel", "openai"))
    # A tenant of its own for each test: the servers outlive it.
    worker = connect(redis)
    yield Api(submit, status, cancel, openai, worker=TaskStore(worker), tenant=f"t-{uuid4().hex[:8]}")
    status.runner.run(worker.aclose())
    for function in (submit, status, cancel, openai):
        function.runner.run(function.redis.aclose())
        function.runner.close()
    submit.sqs.close()
    openai.sqs.close()
