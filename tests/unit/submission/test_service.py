"""The order of writes, and what each failure leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from common.domain.backlog import BacklogQueue
from common.domain.budgets import BudgetCheck, BudgetKind, Budgets
from common.domain.errors import QueueUnavailable, StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.task import FailureCode, TaskRef, TaskStatus, batch_id_of_key, is_batch_id
from common.domain.transitions import ClaimOutcome, Lease
from common.runtime.metrics import Metric
from common.store.keys import SENDING_LEASE_MS
from common.submission.admission import Admission, BudgetExhausted, QueueFull
from common.submission.model import IdempotencyKeyInUse, IdempotencyKeyReused, IdempotentRequest, Prompt, SubmitCall
from common.submission.queue_cap import QueueCap
from common.submission.service import SubmissionService
from tests.fakes import FakeBacklog, FakeStore
from tests.requests import chat

NOW_MS = 1_000_000
PROMPTS = [
    Prompt("small", request=chat("a", seed=1), custom_id="first", expected_tokens=50),
    Prompt("large", request=chat("b")),
]
CALL = SubmitCall(tuple(PROMPTS), 60, 100)
KEY = IdempotentRequest("key", "digest")
BUDGETS = Budgets(requests=5)


class FakeQueue:
    """Keep what is sent; fail after some messages if told to."""

    def __init__(self) -> None:
        self.sent: list[TaskMessage] = []
        self.fails_after: int | None = None

    async def send(self, messages: Sequence[TaskMessage]) -> None:
        self.sent += messages[: self.fails_after]
        if self.fails_after is not None:
            raise QueueUnavailable


class Flaky(FakeStore):
    """Refuse the calls that are named, or lose their replies."""

    refused: frozenset[str] = frozenset()
    unheard: frozenset[str] = frozenset()

    async def mark_accepted(self, tenant: str, batch_id: str, sending_until_ms: int) -> bool:
        if "accept" in self.refused:
            raise StoreUnavailable
        is_accepted = await super().mark_accepted(tenant, batch_id, sending_until_ms)
        if "accept" in self.unheard:
            raise StoreUnavailable
        return is_accepted

    async def mark_unsent(self, tenant: str, batch_id: str, sending_until_ms: int) -> None:
        if "unsent" in self.refused:
            raise StoreUnavailable
        await super().mark_unsent(tenant, batch_id, sending_until_ms)


class FakeCounts:
    """Count requests of one tenant and one day."""

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}
        self.asked: list[str] = []
        self.exhausted: BudgetKind | None = None
        self.is_down = False

    async def admit(self, tenant: str, tasks: int, budgets: Budgets, nonce: str, now_ms: int) -> BudgetCheck:
        assert (tenant, budgets, now_ms) == ("acme", BUDGETS, NOW_MS)
        self.asked.append(nonce)
        if self.is_down:
            raise StoreUnavailable
        if self.exhausted is None:
            self.counted[nonce] = tasks
        return BudgetCheck(self.exhausted, NOW_MS)

    async def return_count(self, tenant: str, tasks: int, nonce: str, now_ms: int) -> None:
        assert (tenant, now_ms) == ("acme", NOW_MS)
        if self.is_down:
            raise StoreUnavailable
        assert self.counted.pop(nonce) == tasks


@dataclass
class FakeDepth:
    """Stand for the queue's depth; it gets shorter by a task every ten seconds."""

    depth: int

    async def current(self) -> int:
        return self.depth

    def seconds_to_drain(self, tasks: int) -> int:
        return 10 * tasks


class Stage:
    """One submission with its store and its queue."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.store = Flaky(lambda: self.now_ms)
        self.queue = FakeQueue()
        self.warnings: list[str] = []
        self.counts = FakeCounts()
        self.backlog = FakeBacklog(lambda: NOW_MS)
        self.counted: list[tuple[Metric, int]] = []
        self.submission = self.service(Admission(self.counts, None, now_ms=lambda: NOW_MS))

    def capped(self, *, most: int, depth: int = 0, share: int = 50) -> SubmissionService:
        """Make another submission to the same queue, whose depth has a cap."""
        cap = QueueCap(BacklogQueue.TASKS, FakeDepth(depth), self.backlog, most=most, share=share)
        return self.service(Admission(self.counts, cap, now_ms=lambda: NOW_MS))

    def service(self, admission: Admission) -> SubmissionService:
        def count(metric: Metric, tasks: int) -> None:
            self.counted.append((metric, tasks))

        return SubmissionService(self.store, self.queue, admission, count=count, warn=self.warnings.append)

    async def claimed(self) -> list[ClaimOutcome]:
        """Claim each task that was sent, as a worker does that meets its message."""
        leases = [Lease(message.task, f"owner-{place}", 1_000, 3) for place, message in enumerate(self.queue.sent)]
        return [(await self.store.claim(lease)).outcome for lease in leases]

    async def statuses(self, refs: Sequence[TaskRef]) -> list[tuple[TaskStatus, FailureCode | None] | None]:
        records = await self.store.read(refs)
        return [(record.status, record.code) if record else None for record in records]


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_an_accepted_call_is_recorded_and_sent_prompt_by_prompt(stage: Stage) -> None:
    accepted = await stage.submission.accept("acme", CALL)

    assert is_batch_id(accepted.batch_id)
    assert not accepted.replayed
    assert await stage.statuses(accepted.refs) == [(TaskStatus.QUEUED, None)] * 2
    assert [message.task.ref for message in stage.queue.sent] == list(accepted.refs)
    first, second = stage.queue.sent
    assert (first.request, first.expected_tokens) == (chat("a", seed=1), 50)
    assert (first.task.model, first.task.custom_id) == ("small", "first")
    assert (second.task.model, second.task.custom_id) == ("large", None)


async def test_the_message_carries_the_times_of_the_store(stage: Stage) -> None:
    await stage.submission.accept("acme", CALL)

    for message in stage.queue.sent:
        assert message.task.created_ms == NOW_MS
        assert message.task.deadline_ms == NOW_MS + 60_000
        assert message.task.retention_ms == 100_000
        assert message.task.batch_size == 2


async def test_an_answer_says_until_when_its_tasks_can_be_read(stage: Stage) -> None:
    first = await stage.submission.accept("acme", CALL, KEY)
    again = await stage.submission.accept("acme", CALL, KEY)

    for accepted in (first, again):
        assert accepted.created_ms == NOW_MS
        assert accepted.deadline_ms == NOW_MS + 60_000
        assert accepted.expires_ms == NOW_MS + 160_000
    records = await stage.store.read(first.refs)
    assert [record.expires_ms for record in records if record] == [first.expires_ms] * len(PROMPTS)


async def test_two_calls_without_a_key_are_two_batches(stage: Stage) -> None:
    one = await stage.submission.accept("acme", CALL)
    other = await stage.submission.accept("acme", CALL)

    assert one.batch_id != other.batch_id


async def test_a_repeat_with_the_key_gets_the_same_ids_and_sends_nothing(stage: Stage) -> None:
    first = await stage.submission.accept("acme", CALL, KEY)
    again = await stage.submission.accept("acme", CALL, KEY)

    assert again.refs == first.refs
    assert again.batch_id == batch_id_of_key("acme", "key")
    assert (first.replayed, again.replayed) == (False, True)
    assert stage.counted == [(Metric.SUBMITTED, len(first.refs))]
    assert len(stage.queue.sent) == len(PROMPTS)


async def test_the_key_with_another_request_is_refused(stage: Stage) -> None:
    await stage.submission.accept("acme", CALL, KEY)

    with pytest.raises(IdempotencyKeyReused):
        await stage.submission.accept("acme", CALL, IdempotentRequest("key", "another digest"))

    assert len(stage.queue.sent) == len(PROMPTS)


async def test_a_key_is_each_tenants_own(stage: Stage) -> None:
    await stage.submission.accept("acme", CALL, KEY)
    other = await stage.submission.accept("other", CALL, IdempotentRequest("key", "another digest"))

    assert not other.replayed


async def test_a_call_that_could_not_be_sent_is_cancelled_unpaid(stage: Stage) -> None:
    stage.queue.fails_after = 1

    with pytest.raises(QueueUnavailable):
        await stage.submission.accept("acme", CALL)

    [sent] = stage.queue.sent
    refs = [TaskRef("acme", sent.task.ref.batch_id, index) for index in range(2)]
    assert await stage.statuses(refs) == [(TaskStatus.CANCELLED, FailureCode.NOT_ACCEPTED)] * 2


async def test_a_call_with_a_key_that_could_not_be_sent_is_sent_by_its_repeat(stage: Stage) -> None:
    stage.queue.fails_after = 1
    with pytest.raises(QueueUnavailable):
        await stage.submission.accept("acme", CALL, KEY)
    stage.queue.fails_after = None
    stage.queue.sent.clear()

    accepted = await stage.submission.accept("acme", CALL, KEY)

    assert not accepted.replayed
    assert [message.task.ref for message in stage.queue.sent] == list(accepted.refs)
    assert await stage.statuses(accepted.refs) == [(TaskStatus.QUEUED, None)] * 2


async def test_while_another_call_sends_the_same_request_a_repeat_has_to_wait(stage: Stage) -> None:
    # GIVEN a call that died before it could say how its sending went
    stage.store.refused = frozenset({"unsent"})
    stage.queue.fails_after = 0
    with pytest.raises(QueueUnavailable):
        await stage.submission.accept("acme", CALL, KEY)

    with pytest.raises(IdempotencyKeyInUse) as caught:
        await stage.submission.accept("acme", CALL, KEY)

    assert caught.value.retry_after == IdempotencyKeyInUse.retry_after
    assert stage.warnings == ["A batch that was not accepted could not be rolled back"]


async def test_what_was_sent_and_cannot_be_marked_as_accepted_is_cancelled_unpaid(stage: Stage) -> None:
    stage.store.refused = frozenset({"accept"})

    with pytest.raises(StoreUnavailable):
        await stage.submission.accept("acme", CALL)

    refs = [message.task.ref for message in stage.queue.sent]
    assert await stage.statuses(refs) == [(TaskStatus.CANCELLED, FailureCode.NOT_ACCEPTED)] * 2


async def test_a_call_with_a_key_that_cannot_be_marked_as_accepted_is_sent_by_its_repeat(stage: Stage) -> None:
    stage.store.refused = frozenset({"accept"})
    with pytest.raises(StoreUnavailable):
        await stage.submission.accept("acme", CALL, KEY)
    assert await stage.claimed() == [ClaimOutcome.NOT_ACCEPTED] * 2
    stage.store.refused = frozenset()
    stage.queue.sent.clear()

    accepted = await stage.submission.accept("acme", CALL, KEY)

    assert [message.task.ref for message in stage.queue.sent] == list(accepted.refs)
    assert await stage.claimed() == [ClaimOutcome.CLAIMED] * 2


async def test_a_repeat_finds_out_that_a_call_was_accepted_whose_reply_was_lost(stage: Stage) -> None:
    stage.store.unheard = frozenset({"accept"})
    with pytest.raises(StoreUnavailable):
        await stage.submission.accept("acme", CALL, KEY)

    again = await stage.submission.accept("acme", CALL, KEY)

    assert again.replayed
    assert [message.task.ref for message in stage.queue.sent] == list(again.refs)


async def test_a_call_that_took_so_long_that_its_messages_were_dropped_is_not_accepted(stage: Stage) -> None:
    # GIVEN a call that is frozen when its messages are sent, until a worker has met one
    async def late(messages: Sequence[TaskMessage]) -> None:
        stage.queue.sent += messages
        stage.now_ms += SENDING_LEASE_MS
        assert await stage.claimed() == [ClaimOutcome.NOT_ACCEPTED] * 2

    stage.queue.send = late  # type: ignore[method-assign]

    with pytest.raises(StoreUnavailable):
        await stage.submission.accept("acme", CALL, KEY)

    assert await stage.claimed() == [ClaimOutcome.NOT_ACCEPTED] * 2


async def test_nothing_that_was_sent_can_be_claimed_before_its_call_is_accepted(stage: Stage) -> None:
    claims: list[ClaimOutcome] = []

    async def early(messages: Sequence[TaskMessage]) -> None:
        stage.queue.sent += messages
        claims.extend(await stage.claimed())

    stage.queue.send = early  # type: ignore[method-assign]

    await stage.submission.accept("acme", CALL)

    assert claims == [ClaimOutcome.UNACCEPTED] * 2
    assert await stage.claimed() == [ClaimOutcome.CLAIMED] * 2


def test_a_prompt_does_not_show_its_text() -> None:
    assert "secret" not in repr(Prompt("m", request=chat("secret", user="secret")))


# ─── Budgets and the queue's depth ────────────────────────────────────────────────────────────────────────────────────


async def test_an_accepted_call_is_counted_once_and_its_messages_carry_the_budgets(stage: Stage) -> None:
    await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    again = await stage.submission.accept("acme", CALL, KEY, BUDGETS)

    assert again.replayed
    assert list(stage.counts.counted.values()) == [2]
    assert [message.budgets for message in stage.queue.sent] == [BUDGETS] * 2
    assert TaskMessage.decode(stage.queue.sent[0].encode()).budgets == BUDGETS


async def test_without_budgets_nothing_is_counted(stage: Stage) -> None:
    stage.counts.is_down = True

    await stage.submission.accept("acme", CALL)

    assert stage.counts.counted == {}
    assert "budgets" not in stage.queue.sent[0].encode()


async def test_over_a_budget_nothing_is_written_and_the_wait_leads_to_midnight(stage: Stage) -> None:
    stage.counts.exhausted = BudgetKind.USD

    with pytest.raises(BudgetExhausted) as refused:
        await stage.submission.accept("acme", CALL, KEY, BUDGETS)

    assert refused.value.retry_after == (86_400_000 - NOW_MS) // 1000
    assert refused.value.members == {"budget": "usd"}
    assert await stage.store.read_batch("acme", batch_id_of_key("acme", "key")) is None
    assert stage.queue.sent == []


async def test_a_repeat_of_an_accepted_call_is_answered_also_over_the_budget(stage: Stage) -> None:
    first = await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    stage.counts.exhausted = BudgetKind.REQUESTS

    again = await stage.submission.accept("acme", CALL, KEY, BUDGETS)

    assert (again.replayed, again.refs) == (True, first.refs)


async def test_a_repeat_of_an_accepted_call_takes_no_room_of_others_even_for_a_moment(stage: Stage) -> None:
    first = await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    stage.counts.is_down = True

    again = await stage.submission.accept("acme", CALL, KEY, BUDGETS)

    assert (again.replayed, again.refs) == (True, first.refs)
    assert len(stage.counts.asked) == 1


async def test_all_calls_of_a_request_count_under_one_name(stage: Stage) -> None:
    # GIVEN a call that died before it could say how its sending went
    stage.store.refused = frozenset({"accept", "unsent"})
    with pytest.raises(StoreUnavailable):
        await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    stage.store.refused = frozenset()
    with pytest.raises(IdempotencyKeyInUse):
        await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    with pytest.raises(IdempotencyKeyReused):
        await stage.submission.accept("acme", CALL, IdempotentRequest("key", "another"), BUDGETS)
    stage.now_ms += SENDING_LEASE_MS
    await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    await stage.submission.accept("acme", CALL, None, BUDGETS)

    *keyed, unkeyed = [nonce.partition(":")[0] for nonce in stage.counts.asked]
    batch_id = batch_id_of_key("acme", "key")
    assert keyed == [f"{batch_id}-{digest}" for digest in ("digest", "digest", "another", "digest")]
    assert unkeyed not in keyed
    # What the refused ones have counted is given back
    assert list(stage.counts.counted) == stage.counts.asked[-2:]


@pytest.mark.parametrize("key", [None, KEY])
async def test_what_could_not_be_sent_is_given_back(stage: Stage, key: IdempotentRequest | None) -> None:
    stage.queue.fails_after = 1
    with pytest.raises(QueueUnavailable):
        await stage.submission.accept("acme", CALL, key, BUDGETS)
    assert stage.counts.counted == {}

    stage.queue.fails_after = None
    await stage.submission.accept("acme", CALL, key, BUDGETS)
    assert list(stage.counts.counted.values()) == [2]


async def test_a_key_of_another_request_counts_nothing(stage: Stage) -> None:
    await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    with pytest.raises(IdempotencyKeyReused):
        await stage.submission.accept("acme", CALL, IdempotentRequest("key", "another"), BUDGETS)

    assert list(stage.counts.counted.values()) == [2]


async def test_where_nobody_can_count_nothing_is_accepted(stage: Stage) -> None:
    stage.counts.is_down = True

    with pytest.raises(StoreUnavailable):
        await stage.submission.accept("acme", CALL, None, BUDGETS)

    assert stage.queue.sent == []


async def test_a_full_queue_refuses_before_anything_is_counted_but_not_a_repeat(stage: Stage) -> None:
    await stage.submission.accept("acme", CALL, KEY, BUDGETS)
    submission = stage.capped(most=4, depth=3)

    with pytest.raises(QueueFull) as refused:
        await submission.accept("acme", CALL, None, BUDGETS)

    assert refused.value.retry_after == 10
    assert (await submission.accept("acme", CALL, KEY, BUDGETS)).replayed
    assert len(stage.counts.counted) == 1
