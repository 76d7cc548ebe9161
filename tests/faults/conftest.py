"""Run the faults concurrently: each mostly waits for a lease, a back-off or a deadline to expire."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aioboto3
import pytest
import pytest_asyncio
from aiobotocore.config import AioConfig

from local.aws import OPENAI_KEY_SECRET
from local.servers import aws_endpoint, on_free_port, start_ministack
from tests.faults.catalogue import FAULTS
from tests.faults.faults import Fault, Row, strike
from tests.faults.functions import Lambda
from tests.faults.report import write_table
from tests.faults.site import Site
from tests.faults.world import World
from tests.infra.stack import Stack, read_template

AT_ONCE = 8
"""Worlds at one time: enough to fill each other's waits on two cores."""

MANY = AioConfig(max_pool_connections=200)
"""Every poller holds a connection while it waits for messages."""

RUNS = int(os.environ.get("FAULT_RUNS", "1"))
"""How often each fault is run; the table adds the runs up."""

FAULT_SECONDS = 150
"""For one fault, from its first task to its last assertion."""

FUNCTIONS = {
    "worker": "WorkerFunction",
    "submit": "SubmitFunction",
    "openai": "OpenaiFunction",
    "status": "StatusFunction",
    "cancel": "CancelFunction",
    "dead_letter": "DeadLetterFunction",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless the command line chooses by markers itself."""
    if config.getoption("markexpr"):
        return
    slow = [item for item in items if item.get_closest_marker("faults")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site() -> AsyncIterator[Site]:
    stack = Stack.of(read_template())
    variables = {
        function: {name: str(value) for name, value in stack.variables(resource).items()}
        for function, resource in FUNCTIONS.items()
    }
    # Short, as the path of a socket may not be long.
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        ministack, port = await on_free_port(lambda port: start_ministack(folder, port))
        try:
            session = aioboto3.Session("test", "test", region_name="us-east-1")
            async with (
                session.client("secretsmanager", endpoint_url=aws_endpoint(port)) as secrets_manager,
                session.client("sqs", endpoint_url=aws_endpoint(port), config=MANY) as sqs,
                Lambda.running(folder) as functions,
            ):
                await secrets_manager.create_secret(Name=OPENAI_KEY_SECRET, SecretString="sk-made-up")
                yield Site(functions, sqs, port, variables, folder)
        finally:
            await ministack.stop()


class Suite:
    """Start all chosen faults at once, so many at a time, and hand out each one's row."""

    def __init__(self, site: Site, faults: list[Fault]) -> None:
        self.rows: dict[str, Row] = {}
        self._site = site
        self._places = asyncio.Semaphore(AT_ONCE)
        self._runs = {fault.name: asyncio.create_task(self._run(fault)) for fault in faults}

    async def row(self, fault: Fault) -> Row:
        """Wait for a fault to be over."""
        return await self._runs[fault.name]

    async def stop(self) -> None:
        for run in self._runs.values():
            run.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def _run(self, fault: Fault) -> Row:
        first, *others = await asyncio.gather(*(self._run_once(fault) for _ in range(RUNS)))
        row = self.rows[fault.name] = sum(others, first)
        return row

    async def _run_once(self, fault: Fault) -> Row:
        async with self._places, World.open(self._site, fault.timing) as world:
            try:
                async with asyncio.timeout(FAULT_SECONDS):
                    return await strike(fault, world)
            except (AssertionError, TimeoutError) as error:
                return Row(fault.name, wrong=[f"{type(error).__name__} {error}"], logs=world.logs())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def suite(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Suite]:
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    params = (test.callspec.params for test in tests if "suite" in test.fixturenames)
    chosen = [each["fault"] for each in params if isinstance(each["fault"], Fault)]
    running = Suite(site, chosen)
    try:
        yield running
    finally:
        await running.stop()
        if set(running.rows) == {fault.name for fault in FAULTS}:
            write_table([running.rows[fault.name] for fault in FAULTS])
