"""Test that no prompt or answer is in a log, metric, trace, error body or dead-letter attribute."""

import asyncio
import json
from typing import Any

import pytest

from tests.faults.model import BEHAVIOURS
from tests.faults.site import Site, Timing
from tests.faults.valkey import runs
from tests.faults.world import World

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(300),
]

DEADLINE = 12


class Daemon(asyncio.DatagramProtocol):
    """Keep what comes for X-Ray."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def datagram_received(self, data: bytes, _: Any) -> None:  # noqa: ANN401  # an address
        self.heard.append(data.decode())


async def test_a_callers_words_stay_with_the_caller(site: Site) -> None:
    loop = asyncio.get_running_loop()
    transport, daemon = await loop.create_datagram_endpoint(Daemon, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    # LAMBDA_TASK_ROOT is what turns tracing on.
    tracing = {"LAMBDA_TASK_ROOT": "/var/task", "AWS_XRAY_DAEMON_ADDRESS": f"{host}:{port}"}
    timing = Timing(worker=8, model=2, visibility=2, max_receives=4, variables=tracing)
    try:
        async with World.open(site, timing) as world:
            await _run_every_failure(world)
            # GIVEN that all three were written, so that there is something to look through
            logs = world.logs()
            assert '"ending":"dead_letter"' in logs or '"message":"dead letter"' in logs
            assert '"_aws"' in logs
            assert any('"name": "task"' in each for each in daemon.heard)
            assert sum(reply.status >= 400 for reply in world.replies) >= 8
            assert all(world.marker in body for body in world.undertaker.bodies.values())
            # THEN the marker, which stands in every prompt, system prompt, param, custom id and answer, is in none
            assert world.leaks() == []
            assert [each for each in daemon.heard if world.marker in each] == []
            assert [each for each in world.undertaker.attributes if world.marker in json.dumps(each)] == []
            assert world.undertaker.attributes
    finally:
        transport.close()


async def _run_every_failure(world: World) -> None:
    # Of the model: one task for each of its ways.
    for number, name in enumerate(BEHAVIOURS):
        await world.submit(1, name, model=f"model-{number}", deadline_seconds=DEADLINE)
    # Of the workers: a message that nobody can read goes to the dead letters, as does one that kills its workers.
    await world.send([f'{{"v": 1, "prompt": "{world.marker}"', json.dumps({"v": 99, "messages": world.marker})])
    world.redis.before(runs("claim"), 1, world.worker.kill, again=1)
    await world.poll()
    await world.undertaker.until(lambda: world.undertaker.received >= 2)
    await world.drain(leaving=True)
    # Of the caller.
    for body in (
        f"{world.marker} is no JSON",
        json.dumps(world.marker),
        json.dumps({"prompts": [world.marker * 20_000]}),
        json.dumps({"prompts": [{"prompt": 7, "custom_id": world.marker}]}),
        json.dumps({"prompts": [world.marker], "model": "unknown"}),
        json.dumps({"prompts": [{"prompt": "a", "custom_id": world.marker}] * 2}),
        json.dumps({"prompts": [{"prompt": world.marker, "params": {"temperature": world.marker}}]}),
        json.dumps({"prompts": [{"messages": [{"role": world.marker, "content": world.marker}]}]}),
    ):
        reply = await world.post_text(body)
        assert reply is not None
        assert 400 <= reply.status < 500
    # Of what we stand on.
    world.aws.refuse()
    await world.post(world.new_prompts(1))
    await world.aws.restore()
    world.redis.refuse()
    await world.post(world.new_prompts(1))
    await world.redis.restore()
