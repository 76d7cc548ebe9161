"""Run the real handler behind a local HTTP server: AWS is moto's server, Redis a Valkey, the client OpenAI's own."""

from collections.abc import Iterator
from uuid import uuid4

import openai
import pytest

from common.runtime.settings import RedisSettings
from tests.aws import aws
from tests.integration.http.conftest import environment, queue, redis, webhooks
from tests.integration.http.queue import Queue
from tests.integration.openai.gateway import Gateway, Service
from tests.invocation import started
from tests.valkey import redis_variables, valkey, valkey_cluster

__all__ = ["aws", "environment", "queue", "redis", "valkey", "valkey_cluster", "webhooks"]


@pytest.fixture
def service(environment: pytest.MonkeyPatch, queue: Queue, webhooks: Queue, redis: RedisSettings) -> Iterator[Service]:
    """Start the function as Lambda does, for a tenant of the test's own."""
    for name, value in {
        **redis_variables(redis),
        "QUEUE_URL": queue.url,
        "WEBHOOK_QUEUE_URL": webhooks.url,
        "ALLOWED_MODELS": "small,large,embedder",
        "EMBEDDING_MODELS": "embedder",
        "MAX_PROMPT_BYTES": "100000",
        "TENANT_HELD_CALLS": "2",
        "MAX_HELD_CALLS": "1000",
    }.items():
        environment.setenv(name, value)
    function = started("openai")
    yield Service(function, queue, redis, tenant=f"t-{uuid4().hex[:8]}")
    function.runner.run(function.redis.aclose())
    function.runner.close()
    function.sqs.close()


@pytest.fixture
def gateway(service: Service) -> Iterator[Gateway]:
    """Serve the function on a port of the system's choice."""
    with Gateway(service) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    """Make the unmodified client; `Prefer` makes each hop short."""
    with openai.OpenAI(base_url=gateway.url, api_key="key", default_headers={"Prefer": "wait=1"}) as client:
        yield client
