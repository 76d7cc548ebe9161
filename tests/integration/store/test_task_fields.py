"""A record carries what the caller set."""

from dataclasses import replace

from tests.integration.store.harness import Harness, lease_of, new_batch, read_one, tasks_of
from tests.store import accepted
from tests.task_specs import FULL_SPEC


async def test_a_record_carries_every_field_of_the_spec_also_after_it_was_lost(harness: Harness) -> None:
    batch = replace(new_batch(1), tasks=(FULL_SPEC,))
    (task,) = tasks_of(batch, await accepted(harness.store, batch))

    created = await read_one(harness, task.ref)
    await harness.lose(task.ref)
    await harness.store.claim(lease_of(task))
    rebuilt = await read_one(harness, task.ref)

    assert created.spec_fields() == rebuilt.spec_fields() == FULL_SPEC.spec_fields()
