from collections.abc import Iterator
from secrets import token_hex

import boto3
import pytest
from moto.server import ThreadedMotoServer
from redis import Redis

from common.settings import RedisSettings
from local.model import StandIn
from tests.integration.worker.environment import (
    REGION,
    SECRET_NAME,
    WorkerEnvironment,
    imported_handler,
    new_queue,
    stand_in_model,
)
from tests.valkey import valkey

__all__ = ["valkey"]


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


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
        "AWS_ENDPOINT_URL": aws,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        # One of its own for each test: Powertools keeps one logger a service, and with it the stream it writes to.
        "POWERTOOLS_SERVICE_NAME": f"worker-{token_hex(4)}",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "REDIS_HOST": valkey.host,
        "REDIS_PORT": str(valkey.port),
        "REDIS_TLS": "false",
        "REDIS_CLUSTER": "false",
        "WEBHOOK_QUEUE_URL": "https://sqs.test/webhooks",
        "CONCURRENCY": "10",
        "WORKER_TIMEOUT_SECONDS": "300",
        "MODEL_TIMEOUT_SECONDS": "120",
        "OPENAI_BASE_URL": model[0],
        "OPENAI_API_KEY_SECRET": SECRET_NAME,
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def environment(
    worker_settings: pytest.MonkeyPatch, model: tuple[str, StandIn], valkey: RedisSettings
) -> Iterator[WorkerEnvironment]:
    with Redis(host=valkey.host, port=valkey.port) as redis:
        redis.flushall()  # a model that one test has paused is the next one's too
    secrets_manager = boto3.client("secretsmanager")
    secrets_manager.create_secret(Name=SECRET_NAME, SecretString="sk-test")
    sqs = boto3.client("sqs")
    queue_url = new_queue(sqs)
    worker_settings.setenv("QUEUE_URL", queue_url)
    try:
        with imported_handler() as handler:
            yield WorkerEnvironment(handler, sqs, queue_url, model[1], valkey)
    finally:
        secrets_manager.delete_secret(SecretId=SECRET_NAME, ForceDeleteWithoutRecovery=True)
        sqs.delete_queue(QueueUrl=queue_url)
        secrets_manager.close()
        sqs.close()
