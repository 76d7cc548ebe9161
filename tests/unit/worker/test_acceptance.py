"""What a worker does with the tasks of a call that is not accepted, or not yet."""

import asyncio
from dataclasses import replace

import pytest

from common.domain.task import NewBatch, TaskSpec
from common.domain.transitions import Claim, Created, Lease
from common.store.keys import SENDING_LEASE_MS
from common.worker.attempt import ACCEPT_SECONDS
from common.worker.message import OutcomeKind, ReceivedMessage
from tests.unit.worker.stage import HOUR_MS, Stage, answers

SENDING_SECONDS = SENDING_LEASE_MS / 1000
PROMPTS = ["first", "second"]


@pytest.fixture
def created(stage: Stage) -> Created:
    """Record the batch of the stage's prompts, as a call does that has yet to accept it."""
    size = len(PROMPTS)
    ref, *_ = (stage.task(prompt).ref for prompt in PROMPTS)
    batch = NewBatch(ref.tenant, ref.batch_id, (TaskSpec("gpt-test"),) * size, 6 * HOUR_MS, 24 * HOUR_MS)
    return stage.runner.run(stage.store.create(batch))


def accept_in(stage: Stage, seconds: float, created: Created) -> None:
    """Have the call accepted while the first claims are made."""
    ref, claim = stage.task(PROMPTS[0]).ref, stage.store.claim
    accepted: list[asyncio.Task[None]] = []

    async def accept() -> None:
        await asyncio.sleep(seconds)
        assert await stage.store.mark_accepted(ref.tenant, ref.batch_id, created.sending_until_ms)

    async def claim_and_go_on(lease: Lease) -> Claim:
        if not accepted:
            accepted.append(asyncio.create_task(accept()))
        return await claim(lease)

    stage.store.claim = claim_and_go_on  # type: ignore[method-assign]


def test_a_task_that_is_a_moment_early_is_called_as_soon_as_its_call_is_accepted(
    stage: Stage, created: Created
) -> None:
    accept_in(stage, 0.2, created)

    assert stage.work(*map(stage.delivery, PROMPTS)) == []

    assert [stage.journal.endings[prompt].kind for prompt in PROMPTS] == [OutcomeKind.COMPLETED] * 2
    assert all(0.2 <= started < 0.4 for started in stage.model.started_at.values())


def test_a_task_whose_call_takes_longer_goes_back_unclaimed(stage: Stage, created: Created) -> None:
    del created

    assert stage.work(stage.delivery("first")) == ["first"]

    assert stage.loop.now == pytest.approx(ACCEPT_SECONDS)
    assert stage.model.calls == []
    assert stage.journal.endings["first"].kind is OutcomeKind.UNACCEPTED
    assert stage.queue.waits["first"] == pytest.approx(1, rel=0.11)
    record = stage.record("first")
    assert record is not None
    assert record.attempts == ()


def test_waits_for_a_slow_call_grow_with_its_age_and_none_outlasts_its_sending(stage: Stage, created: Created) -> None:
    del created
    waits = []
    while stage.loop.now < SENDING_SECONDS:
        stage.work(stage.delivery("first"))
        if "first" not in stage.queue.waits:
            break
        waits.append(stage.queue.waits["first"])
        stage.pass_time(waits[-1])

    assert stage.loop.now == pytest.approx(SENDING_SECONDS)
    assert waits[0] < waits[1] < waits[2]
    assert len(waits) <= 6
    assert stage.model.calls == []


def test_waiting_for_its_call_makes_no_message_suspect_or_dead(stage: Stage, created: Created) -> None:
    del created

    assert stage.work(stage.delivery("first", receives=2)) == []

    assert list(stage.queue.sent) == ["first"]


def test_a_message_of_a_call_that_was_never_accepted_is_dropped_without_a_call(stage: Stage, created: Created) -> None:
    ref = stage.task("first").ref
    stage.runner.run(stage.store.mark_unsent(ref.tenant, ref.batch_id, created.sending_until_ms))

    assert stage.work(*map(stage.delivery, PROMPTS)) == []

    assert [stage.journal.endings[prompt].kind for prompt in PROMPTS] == [OutcomeKind.DISCARDED] * 2
    assert stage.queue.waits == {}
    assert stage.model.calls == []


def test_what_is_early_costs_its_neighbours_nothing(stage: Stage, created: Created) -> None:
    del created
    stage.model.scripts["neighbour"] = answers(seconds=0.5)
    message = stage.message("neighbour")
    task = replace(message.task, ref=replace(message.task.ref, batch_id="1" * 36))
    neighbour = ReceivedMessage("neighbour", "receipt", 1, replace(message, task=task).encode())

    assert stage.work(stage.delivery("first"), neighbour) == ["first"]

    assert stage.journal.endings["neighbour"].kind is OutcomeKind.COMPLETED
    assert stage.model.started_at["neighbour"] == 0
