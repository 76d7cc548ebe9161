"""Test twenty concurrent worker processes on one limit, against a provider that counts."""

import asyncio
import json
import os
import sys
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from common.runtime.settings import RedisSettings

ROOT = Path(__file__).parents[3]
WORKERS = 20
REQUESTS = 900
MEASURED_SECONDS = 125.0
"""Two windows of a minute, and some."""
SECONDS = MEASURED_SECONDS + 20
ANSWER = (
    b'data: {"choices": [{"index": 0, "delta": {"content": "All of them."}, "finish_reason": "stop"}], '
    b'"usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}\n\ndata: [DONE]\n\n'
)


@dataclass
class Provider:
    """Stand for the model, which notes when each call arrives, and for AWS, which agrees to everything."""

    arrivals: list[float] = field(default_factory=list)
    url: str = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.arrivals.append(time.monotonic())
        await asyncio.sleep(2)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(ANSWER)
        return response

    async def agree(self, request: web.Request) -> web.Response:
        is_secret = request.headers.get("X-Amz-Target", "").startswith("secretsmanager")
        answer: dict[str, object] = {"SecretString": "sk-test"} if is_secret else {"Successful": [], "Failed": []}
        return web.json_response(answer, content_type="application/x-amz-json-1.0")

    def most_in_a_minute(self) -> int:
        return max(bisect_left(self.arrivals, at + 60) - place for place, at in enumerate(self.arrivals))


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", provider.complete)
    app.router.add_post("/", provider.agree)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield provider
    await runner.cleanup()


def environment(provider: Provider, valkey: RedisSettings) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {
        "AWS_ENDPOINT_URL": provider.url,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "POWERTOOLS_SERVICE_NAME": "worker",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        "REDIS_HOST": valkey.host,
        "REDIS_PORT": str(valkey.port),
        "REDIS_TLS": "false",
        "REDIS_CLUSTER": "false",
        "QUEUE_URL": f"{provider.url}/queue",
        "WEBHOOK_QUEUE_URL": f"{provider.url}/webhooks",
        "CONCURRENCY": "10",
        "MODEL_LIMITS": f"*={REQUESTS}/",
        "WORKER_TIMEOUT_SECONDS": "300",
        "MODEL_TIMEOUT_SECONDS": "60",
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OPENAI_API_KEY_SECRET": "sluice/openai",
    }


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_twenty_workers_keep_to_one_limit_and_use_it(provider: Provider, valkey: RedisSettings) -> None:
    flood = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.flow.flooder", str(WORKERS), str(SECONDS)),
        cwd=ROOT,
        env=environment(provider, valkey),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await flood.communicate()

    assert json.loads(printed) == [0] * WORKERS
    measured = [at for at in provider.arrivals if at < provider.arrivals[0] + MEASURED_SECONDS]
    share = len(measured) / (MEASURED_SECONDS / 60 * REQUESTS)
    print(f"of {REQUESTS} a minute: {provider.most_in_a_minute()} at most, {share:.1%} used")  # noqa: T201  its result
    assert provider.most_in_a_minute() <= REQUESTS * 1.01
    assert share >= 0.95
