from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING

import boto3
import pytest
from redis import Redis

from common.runtime.settings import RedisSettings
from local.model import StandIn
from tests.aws import aws, aws_variables
from tests.integration.worker.environment import (
    SECRET_NAME,
    WorkerEnvironment,
    new_queue,
    running_handler,
    stand_in_model,
)
from tests.valkey import redis_variables, valkey

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["aws", "valkey"]


@pytest.fixture(scope="session")
def model() -> Iterator[tuple[str, StandIn]]:
    with stand_in_model() as running:
        yield running


@pytest.fixture
def worker_settings(
    aws: str, model: tuple[str, StandIn], valkey: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """Set the environment that template.yaml sets, with this machine's servers; QUEUE_URL is each environment's own."""
    for name, value in {
        **aws_variables(aws),
        # One of its own for each test: Powertools keeps one logger a service, and with it the stream it writes to.
        "POWERTOOLS_SERVICE_NAME": f"worker-{token_hex(4)}",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        **redis_variables(valkey),
        "WEBHOOK_QUEUE_URL": "https://sqs.test/webhooks",
        "CONCURRENCY": "10",
        "WORKER_TIMEOUT_SECONDS": "300",
        "MODEL_TIMEOUT_SECONDS": "120",
        "OPENAI_BASE_URL": model[0],
        "OPENAI_API_KEY_SECRET": SECRET_NAME,
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@dataclass(frozen=True)
class Line:
    """A queue of prompts or workflows, and the client to speak to it."""

    sqs: "SQSClient"
    url: str


@pytest.fixture
def line(worker_settings: pytest.MonkeyPatch, valkey: RedisSettings) -> Iterator[Line]:
    """Make what a worker finds: an empty cache, the key of the model, and a queue of the test's own."""
    with Redis(host=valkey.host, port=valkey.port) as redis:
        redis.flushall()  # a model that one test has paused is the next one's too
    secrets_manager, sqs = boto3.client("secretsmanager"), boto3.client("sqs")
    secrets_manager.create_secret(Name=SECRET_NAME, SecretString="sk-test")
    made = Line(sqs, new_queue(sqs))
    worker_settings.setenv("QUEUE_URL", made.url)
    try:
        yield made
    finally:
        secrets_manager.delete_secret(SecretId=SECRET_NAME, ForceDeleteWithoutRecovery=True)
        sqs.delete_queue(QueueUrl=made.url)
        secrets_manager.close()
        sqs.close()


@pytest.fixture
def environment(line: Line, model: tuple[str, StandIn], valkey: RedisSettings) -> Iterator[WorkerEnvironment]:
    with running_handler("worker") as handler:
        yield WorkerEnvironment(handler, line.sqs, line.url, model[1], valkey)
