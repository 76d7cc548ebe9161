"""The contract of the sums: of a batch, and of a tenant's day."""

import asyncio

from common.domain.spending import NO_CHARGE, Charge, Spend
from common.domain.task import Answer, FailureCode, TaskStatus, Usage
from common.domain.transitions import CallReport, EndOutcome
from tests.integration.store.harness import START_MS, TENANT, Harness, lease_of, read_one, submitted

PRICED = Answer("To reach the other bank.", "stop", Usage(11, 7, 18, 4), cost_nanos=123)
UNPRICED = Answer("It was a recession.", "length", Usage(1, 2, 3))
SILENT = Answer("", "stop")
TODAY = "2096-10-02"
DAY_MS = 86_400_000


async def sums_of(harness: Harness, batch_id: str) -> tuple[Usage | None, int | None]:
    batch = await harness.store.read_batch(TENANT, batch_id)
    return batch.usage, batch.cost_nanos


async def test_an_answer_keeps_its_cost(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))

    await harness.store.complete(lease_of(task), PRICED)

    assert (await read_one(harness, task.ref)).answer == PRICED


async def test_a_batch_has_no_sums_before_its_first_answer(harness: Harness) -> None:
    [task] = await submitted(harness)
    assert await sums_of(harness, task.ref.batch_id) == (None, None)

    await harness.store.complete(lease_of(task), SILENT)

    assert await sums_of(harness, task.ref.batch_id) == (None, None)


async def test_the_answers_of_a_batch_add_up_in_it_and_in_their_tenants_day(harness: Harness) -> None:
    tasks = await submitted(harness, 4)

    for task, answer in zip(tasks, (PRICED, PRICED, UNPRICED, SILENT), strict=True):
        await harness.store.claim(lease_of(task))
        assert await harness.store.complete(lease_of(task), answer) is EndOutcome.ENDED

    assert await sums_of(harness, tasks[0].ref.batch_id) == (Usage(23, 16, 39, 8), 246)
    assert await harness.store.spend(TENANT, TODAY) == Spend(4, 23, 16, 39, 8, cost_nanos=246, unpriced=2)
    assert await harness.store.spend("rival", TODAY) == Spend()


async def test_an_answer_is_booked_once_however_often_it_is_brought(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))

    await asyncio.gather(*(harness.store.complete(lease_of(task, owner), PRICED) for owner in ("a", "a", "b", "b")))
    await harness.advance(600_000)
    assert await harness.store.complete(lease_of(task, "c"), PRICED) is EndOutcome.ALREADY

    assert await sums_of(harness, task.ref.batch_id) == (PRICED.usage, 123)
    assert await harness.store.spend(TENANT, TODAY) == Spend(1, 11, 7, 18, 4, cost_nanos=123)


async def test_answers_of_one_moment_are_booked_as_one_after_the_other_would_be(harness: Harness) -> None:
    tasks = await submitted(harness, 5)
    await harness.store.complete(lease_of(tasks[0], "a"), PRICED)

    # One comes again with the others, as a worker's does whose first reply was lost
    answers = (PRICED, PRICED, UNPRICED, SILENT, PRICED)
    ends = await asyncio.gather(
        *(harness.store.complete(lease_of(task, "a"), answer) for task, answer in zip(tasks, answers, strict=True))
    )

    assert ends == [EndOutcome.ENDED] * 5
    assert await harness.store.spend(TENANT, TODAY) == Spend(5, 34, 23, 57, 12, cost_nanos=369, unpriced=2)


async def test_what_ends_without_an_answer_is_not_booked(harness: Harness) -> None:
    failed, cancelled = await submitted(harness, 2)
    await harness.store.claim(lease_of(failed))
    await harness.store.fail(lease_of(failed), FailureCode.CONTENT_POLICY)
    await harness.store.cancel([cancelled.ref])
    assert await harness.store.complete(lease_of(cancelled), PRICED) is EndOutcome.ALREADY

    assert await sums_of(harness, failed.ref.batch_id) == (None, None)
    assert await harness.store.spend(TENANT, TODAY) == Spend()


async def test_what_a_call_without_an_answer_has_cost_is_in_the_sums_and_marked_where_it_is_an_estimate(
    harness: Harness,
) -> None:
    first, second, third = await submitted(harness, 3)
    for task in first, second, third:
        await harness.store.claim(lease_of(task))
    await harness.store.complete(lease_of(first), PRICED)

    await harness.store.charge(lease_of(second), Charge.estimate(Usage(10, 5, 15), 30))
    await harness.store.charge(lease_of(third), Charge.billed(Usage(1, 2, 3), None))

    batch = await harness.store.read_batch(TENANT, first.ref.batch_id)
    assert batch is not None
    assert (batch.usage, batch.cost_nanos) == (Usage(22, 14, 36, 4), 153)
    assert (batch.estimated_tokens, batch.estimated_nanos) == (15, 30)
    assert await harness.store.spend(TENANT, TODAY) == Spend(
        1, 22, 14, 36, 4, cost_nanos=153, unpriced=1, estimated_tokens=15, estimated_nanos=30
    )


async def test_each_attempt_is_charged_once_whatever_has_become_of_its_task(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task, "a"))
    await harness.store.cancel([task.ref])
    charge = Charge.estimate(Usage(1, 2, 3), 4)

    for owner in ("a", "b", "a", "b", "a"):
        await harness.store.charge(lease_of(task, owner), charge)
        await harness.advance(60_000)

    assert await sums_of(harness, task.ref.batch_id) == (Usage(2, 4, 6), 8)
    assert (await harness.store.spend(TENANT, TODAY)).cost_nanos == 8
    assert (await read_one(harness, task.ref)).status is TaskStatus.CANCELLED


async def test_a_task_that_redis_has_lost_is_still_charged_to_its_tenants_day(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.lose(task.ref)

    await harness.store.charge(lease_of(task), Charge.billed(Usage(1, 2, 3), 4))

    assert (await harness.store.spend(TENANT, TODAY)).cost_nanos == 4
    assert await harness.store.read([task.ref]) == [None]


async def test_an_answer_may_add_another_charge_to_the_sums_than_it_shows(harness: Harness) -> None:
    tasks = await submitted(harness, 2)
    for task in tasks:
        await harness.store.claim(lease_of(task))

    await harness.store.complete(lease_of(tasks[0]), PRICED, Charge.billed(Usage(1, 2, 3), 5))
    await harness.store.complete(lease_of(tasks[1]), PRICED, NO_CHARGE)

    assert [(await read_one(harness, task.ref)).answer for task in tasks] == [PRICED, PRICED]
    assert await sums_of(harness, tasks[0].ref.batch_id) == (Usage(1, 2, 3), 5)
    assert await harness.store.spend(TENANT, TODAY) == Spend(2, 1, 2, 3, cost_nanos=5)


async def test_a_failed_task_shows_what_its_last_call_was_billed(harness: Harness) -> None:
    [task] = await submitted(harness)
    await harness.store.claim(lease_of(task))

    await harness.store.fail(lease_of(task), FailureCode.CONTENT_POLICY, report=CallReport(Usage(1, 2, 3), 4))

    record = await read_one(harness, task.ref)
    assert (record.failed_usage, record.failed_cost_nanos, record.answer) == (Usage(1, 2, 3), 4, None)
    assert await sums_of(harness, task.ref.batch_id) == (None, None)


async def test_each_answer_counts_on_the_day_it_came(harness: Harness) -> None:
    first, second = await submitted(harness, 2)
    await harness.store.complete(lease_of(first), PRICED)
    await harness.advance(DAY_MS - START_MS % DAY_MS)

    await harness.store.complete(lease_of(second), PRICED)

    assert [(await harness.store.spend(TENANT, day)).tasks for day in (TODAY, "2096-10-03")] == [1, 1]
