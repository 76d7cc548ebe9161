"""Scripts run by their digest, come back after the server has forgotten them, and fail as one error."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from common.domain.errors import StoreUnavailable
from common.domain.task import Answer, TaskRef
from common.domain.transitions import ClaimOutcome, EndOutcome
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from common.store.client import Client
from common.store.keys import task_key
from tests.integration.store.harness import lease_of, new_batch, tasks_of
from tests.store import accepted


@pytest.fixture(params=["valkey", "valkey_cluster"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    opened = connect(request.getfixturevalue(request.param))
    await opened.flushall()
    yield opened
    await opened.aclose()


async def test_scripts_that_the_server_has_forgotten_are_sent_again(client: Client) -> None:
    store = TaskStore(client)
    batch = new_batch(50)
    tasks = tasks_of(batch, await accepted(store, batch))

    await client.script_flush()
    assert None not in await store.read([task.ref for task in tasks])
    await client.script_flush()
    assert (await store.claim(lease_of(tasks[0]))).outcome is ClaimOutcome.CLAIMED


async def test_a_refusal_for_want_of_memory_is_the_store_being_unavailable_and_writes_nothing(client: Client) -> None:
    store = TaskStore(client)
    batch = new_batch(50)
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="OutOfMemoryError"):
            await store.create(batch)
    finally:
        await client.config_set("maxmemory", 0)

    assert await store.read_batch(batch.tenant, batch.batch_id) is None


async def test_an_error_inside_a_pipeline_carries_no_text(client: Client) -> None:
    store = TaskStore(client)
    batch = new_batch(1)
    (task,) = tasks_of(batch, await store.create(batch))
    assert await store.complete(lease_of(task), Answer("a secret", "stop")) is EndOutcome.ENDED
    await client.delete(task_key(task.ref))
    await client.set(task_key(task.ref), "not a hash")

    with pytest.raises(StoreUnavailable) as caught:
        await store.cancel([task.ref])

    assert str(caught.value) == "ResponseError"
    assert task_key(task.ref) not in str(caught.value.__cause__)


@pytest.mark.parametrize("cluster", [False, True])
async def test_a_server_that_is_not_there_is_the_store_being_unavailable(
    valkey: RedisSettings, *, cluster: bool
) -> None:
    nobody = connect(replace(valkey, port=1, cluster=cluster))
    try:
        with pytest.raises(StoreUnavailable):
            await TaskStore(nobody).read([TaskRef("acme", new_batch().batch_id, 0)])
    finally:
        await nobody.aclose()
