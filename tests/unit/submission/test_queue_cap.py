"""A capped queue has room for each tenant, and a call's places are its own from before it is sent until it is not."""

import pytest

from common.domain.backlog import BacklogQueue, QueueLimit
from common.domain.budgets import BudgetKind
from common.domain.errors import QueueUnavailable, RequestTooLarge, StoreUnavailable
from common.domain.task import batch_id_of_key
from common.submission.admission import BudgetExhausted, QueueFull, QueueShareFull
from common.submission.model import IdempotencyKeyInUse, IdempotencyKeyReused, IdempotentRequest, SubmitCall
from tests.unit.submission.test_service import BUDGETS, KEY, PROMPTS, Stage


def call_of(size: int) -> SubmitCall:
    return SubmitCall(tuple(PROMPTS[:1] * size), 60, 100)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_tenant_fills_its_share_and_is_told_when_to_come_again(stage: Stage) -> None:
    submission = stage.capped(most=10)
    await submission.accept("rival", call_of(5))

    with pytest.raises(QueueShareFull) as refused:
        await submission.accept("rival", call_of(2))

    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "queue_share_full", 20)
    assert (await submission.accept("acme", call_of(2))).refs
    assert len(stage.queue.sent) == 7


async def test_a_call_that_an_empty_queue_would_not_take_is_not_told_to_come_again(stage: Stage) -> None:
    with pytest.raises(RequestTooLarge) as refused:
        await stage.capped(most=10).accept("acme", call_of(6))

    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (413, "exceeds_queue_share", None)


async def test_a_queue_that_is_full_of_others_tasks_is_full(stage: Stage) -> None:
    with pytest.raises(QueueFull):
        await stage.capped(most=10, depth=10).accept("acme", call_of(1))
    assert stage.backlog.held("acme") == []


async def test_a_budget_that_is_used_up_takes_no_place_and_a_full_share_no_budget(stage: Stage) -> None:
    submission = stage.capped(most=10)
    stage.counts.exhausted = BudgetKind.REQUESTS
    with pytest.raises(BudgetExhausted):
        await submission.accept("acme", call_of(5), None, BUDGETS)
    assert stage.backlog.held("acme") == []

    stage.counts.exhausted = None
    await submission.accept("acme", call_of(5), None, BUDGETS)
    with pytest.raises(QueueShareFull):
        await submission.accept("acme", call_of(1), None, BUDGETS)
    assert list(stage.counts.counted.values()) == [5]


async def test_what_could_not_be_sent_leaves_its_places(stage: Stage) -> None:
    submission = stage.capped(most=10)
    stage.queue.fails_after = 1
    for key in (None, KEY):
        with pytest.raises(QueueUnavailable):
            await submission.accept("acme", call_of(5), key)
        assert stage.backlog.held("acme") == []

    stage.queue.fails_after = None
    assert not (await submission.accept("acme", call_of(5), KEY)).replayed
    assert len(stage.backlog.held("acme")) == 5


async def test_a_repeat_takes_no_more_places_and_gives_none_back(stage: Stage) -> None:
    submission = stage.capped(most=10)
    first = await submission.accept("acme", call_of(5), KEY)
    assert (await submission.accept("acme", call_of(5), KEY)).replayed

    with pytest.raises(IdempotencyKeyReused):
        await submission.accept("acme", call_of(5), IdempotentRequest(KEY.key, "another"))

    assert set(stage.backlog.held("acme")) == set(first.refs)


async def test_a_call_beside_one_of_the_same_key_takes_it_no_places_away(stage: Stage) -> None:
    # GIVEN a call whose environment has died while it was sending
    submission = stage.capped(most=10)
    stage.queue.fails_after, stage.store.refused = 0, frozenset({"unsent"})
    with pytest.raises(QueueUnavailable):
        await submission.accept("acme", call_of(5), KEY)
    batch_id = batch_id_of_key("acme", KEY.key)
    await stage.backlog.reserve("acme", BacklogQueue.TASKS, batch_id, 5, QueueLimit(0, 10, 50))
    stage.queue.fails_after = None

    with pytest.raises(IdempotencyKeyInUse):
        await submission.accept("acme", call_of(5), KEY)

    assert len(stage.backlog.held("acme")) == 5


async def test_a_call_is_accepted_though_its_places_cannot_be_kept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable

    submission = stage.capped(most=10)
    monkeypatch.setattr(stage.backlog, "confirm", fail)

    assert (await submission.accept("acme", call_of(5))).refs
    assert stage.warnings == ["A batch was accepted, and does not count in its tenant's share of the queue"]


async def test_a_call_is_not_accepted_where_its_places_cannot_be_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> int:
        raise StoreUnavailable

    submission = stage.capped(most=10)
    monkeypatch.setattr(stage.backlog, "reserve", fail)

    with pytest.raises(StoreUnavailable):
        await submission.accept("acme", call_of(5), None, BUDGETS)
    assert stage.queue.sent == []
    assert stage.counts.counted == {}


async def test_with_the_whole_queue_for_everybody_nobody_counts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reserve", "confirm", "remove"):
        monkeypatch.setattr(stage.backlog, name, None)
    submission = stage.capped(most=10, share=100)

    assert (await submission.accept("acme", call_of(10))).refs
    stage.queue.fails_after = 0
    with pytest.raises(QueueUnavailable):
        await submission.accept("acme", call_of(1))
