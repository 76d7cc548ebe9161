"""A deleted task is read by nobody and run by nobody, and nothing of its content is left."""

import pytest

from common.domain.task import Answer, FailureCode
from common.domain.transitions import ClaimOutcome, EndOutcome
from common.runtime.settings import RedisSettings
from common.store.keys import task_key
from common.store.scripts import Scripts
from tests.integration.store.harness import Harness, lease_of, scripts_on_test_time, submitted, valkey_harness


async def test_a_deleted_task_is_not_read(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.complete(lease_of(task), Answer("secret", "stop"))

    await harness.store.delete([task.ref])
    await harness.store.delete([task.ref])

    assert await harness.store.read([task.ref]) == [None]


async def test_a_task_that_has_not_ended_is_cancelled_and_its_message_starts_nothing(harness: Harness) -> None:
    [task] = await submitted(harness)

    await harness.store.delete([task.ref])

    assert (await harness.store.claim(lease_of(task))).outcome is ClaimOutcome.ENDED
    assert await harness.store.complete(lease_of(task), Answer("late", "stop")) is EndOutcome.ALREADY
    assert await harness.store.read([task.ref]) == [None]


@pytest.mark.parametrize("code", [FailureCode.BAD_REQUEST, None], ids=["failed", "completed"])
async def test_nothing_of_the_content_of_a_deleted_task_is_left(
    valkey: RedisSettings, code: FailureCode | None
) -> None:
    async with valkey_harness(valkey, Scripts(scripts_on_test_time())) as harness:
        [task] = await submitted(harness)
        lease = lease_of(task)
        await harness.store.claim(lease)
        if code is None:
            await harness.store.complete(lease, Answer("secret", "stop", response={"secret": "secret"}))
        else:
            await harness.store.fail(lease, code)
            await harness.store.save_request(task.ref, "secret")

        await harness.store.delete([task.ref])
        await harness.store.save_request(task.ref, "secret")

        record = await harness.client.execute_command("HGETALL", task_key(task.ref))
        assert record
        assert not [value for value in record.values() if b"secret" in bytes(value)]
