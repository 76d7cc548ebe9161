"""The end of a batch's last task is announced, once, however it ends and whoever dies on the way."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from common.domain.errors import StoreUnavailable
from common.domain.task import Answer, FailureCode, Task, TaskStatus, WaitingOn
from common.domain.transitions import Release
from common.webhooks.events import DeliveryReceipt, WebhookNotification
from common.webhooks.model import (
    RESPONSE_EVENTS,
    Webhook,
    WebhookDelivery,
    WebhookDeliveryCode,
    WebhookDeliveryStatus,
    WebhookEvent,
)
from tests.integration.store.harness import (
    DEADLINE_IN_MS,
    LEASE_MS,
    START_MS,
    TENANT,
    Harness,
    ValkeyHarness,
    lease_of,
    new_batch,
    submitted,
    tasks_of,
)

HOOK: Final = Webhook("https://hooks.example/batches?token=secret")
ANSWER: Final = Answer("Forty-two.", "stop")

DAY: Final = datetime.fromtimestamp(START_MS // 1000, UTC).date().isoformat()

type End = Callable[[Harness, Task], Awaitable[object]]


async def complete(harness: Harness, task: Task) -> None:
    await harness.store.claim(lease_of(task))
    await harness.store.complete(lease_of(task), ANSWER)


async def fail(harness: Harness, task: Task) -> None:
    await harness.store.claim(lease_of(task))
    await harness.store.fail(lease_of(task), FailureCode.CONTENT_POLICY)


async def exhaust(harness: Harness, task: Task) -> None:
    lease = lease_of(task, max_attempts=1)
    await harness.store.claim(lease)
    await harness.store.release(lease, Release(code=FailureCode.TIMEOUT, waiting_on=WaitingOn.PROVIDER))


async def claim_after_the_last_worker_died(harness: Harness, task: Task) -> None:
    await harness.store.claim(lease_of(task, max_attempts=1))
    await harness.advance(LEASE_MS)
    await harness.store.claim(lease_of(task, "owner-b", max_attempts=1))


async def claim_past_the_deadline(harness: Harness, task: Task) -> None:
    await harness.advance(DEADLINE_IN_MS)
    await harness.store.claim(lease_of(task))


async def bury(harness: Harness, task: Task) -> None:
    await harness.store.dead_letter(task)


async def cancel(harness: Harness, task: Task) -> None:
    await harness.store.cancel([task.ref])


async def read_past_the_deadline(harness: Harness, task: Task) -> None:
    await harness.advance(DEADLINE_IN_MS)
    await harness.store.read([task.ref])


ENDS: Final[list[tuple[End, TaskStatus]]] = [
    (complete, TaskStatus.COMPLETED),
    (fail, TaskStatus.FAILED),
    (exhaust, TaskStatus.FAILED),
    (claim_after_the_last_worker_died, TaskStatus.FAILED),
    (claim_past_the_deadline, TaskStatus.FAILED),
    (bury, TaskStatus.FAILED),
    (cancel, TaskStatus.CANCELLED),
    (read_past_the_deadline, TaskStatus.FAILED),
]
WITH_A_MESSAGE: Final = [end for end, _ in ENDS if end not in {cancel, read_past_the_deadline}]


def is_repeated(request: pytest.FixtureRequest) -> bool:
    """Tell whether this server gets every call twice: then who only looks or cancels leaves the event to others."""
    return "valkey_twice" in request.node.name


async def look_later(harness: Harness, task: Task) -> None:
    """Look when whoever should have sent the event has had the time."""
    await harness.advance(10_000)
    await harness.store.read([task.ref])


@pytest.mark.parametrize(("end", "status"), ENDS, ids=lambda value: getattr(value, "__name__", None))
async def test_the_last_end_is_announced_once_however_it_comes(
    harness: Harness, end: End, status: TaskStatus, request: pytest.FixtureRequest
) -> None:
    # GIVEN a batch of two of which one has ended
    first, last = await submitted(harness, 2, webhook=HOOK)
    await complete(harness, first)
    assert harness.announcer.announced == []

    # WHEN the other ends, and is seen again in every way
    await end(harness, last)
    ended_ms = harness.now_ms
    if end not in WITH_A_MESSAGE and is_repeated(request):
        await look_later(harness, last)
    await harness.store.claim(lease_of(last, "owner-c"))
    await harness.store.dead_letter(last)
    await harness.store.cancel([first.ref, last.ref])
    await look_later(harness, last)

    # THEN that was announced once, with how they ended
    counts: dict[str, int] = {TaskStatus.COMPLETED: 1, TaskStatus.FAILED: 0, TaskStatus.CANCELLED: 0}
    counts[status] += 1
    expected = WebhookNotification(TENANT, last.ref.batch_id, HOOK.url, ended_ms, counts)
    assert harness.announcer.announced == [expected]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("Hello", "stop"), WebhookEvent.RESPONSE_COMPLETED),
        (Answer("Hel", "length"), WebhookEvent.RESPONSE_INCOMPLETE),
        (None, WebhookEvent.RESPONSE_FAILED),
    ],
)
@pytest.mark.parametrize("is_lost", [False, True])
async def test_the_event_of_a_response_says_how_it_ended(
    harness: Harness, answer: Answer | None, expected: WebhookEvent, *, is_lost: bool
) -> None:
    [task] = await submitted(harness, webhook=Webhook("https://hooks.example", RESPONSE_EVENTS))
    await harness.store.claim(lease_of(task))
    if is_lost:
        await harness.lose_batch(TENANT, task.ref.batch_id)

    if answer:
        await harness.store.complete(lease_of(task), answer)
    else:
        await harness.store.fail(lease_of(task), FailureCode.BAD_REQUEST)

    assert [each.event for each in harness.announcer.announced] == [expected]


async def test_a_cancelled_response_has_its_event(harness: Harness) -> None:
    [task] = await submitted(harness, webhook=Webhook("https://hooks.example", RESPONSE_EVENTS))

    await harness.store.cancel([task.ref])
    await look_later(harness, task)

    assert [each.event for each in harness.announcer.announced] == [WebhookEvent.RESPONSE_CANCELLED]


@pytest.mark.parametrize("end", WITH_A_MESSAGE, ids=lambda end: end.__name__)
async def test_what_could_not_be_announced_keeps_its_message_and_is_announced_when_that_comes_again(
    harness: Harness, end: End
) -> None:
    [task] = await submitted(harness, webhook=HOOK)

    harness.announcer.fails = True
    with pytest.raises(StoreUnavailable):
        await end(harness, task)
    assert harness.announcer.announced == []

    harness.announcer.fails = False
    await harness.store.claim(lease_of(task, "owner-d"))
    assert len(harness.announcer.announced) == 1


async def test_an_answer_is_booked_although_its_batchs_end_could_not_be_announced(harness: Harness) -> None:
    [task] = await submitted(harness, webhook=HOOK)
    harness.announcer.fails = True

    with pytest.raises(StoreUnavailable):
        await complete(harness, task)

    assert (await harness.store.spend(TENANT, DAY)).tasks == 1


@pytest.mark.parametrize("end", [cancel, read_past_the_deadline], ids=lambda end: end.__name__)
async def test_who_only_looks_or_cancels_is_answered_although_nothing_could_be_announced(
    harness: Harness, end: End
) -> None:
    [task] = await submitted(harness, webhook=HOOK)

    harness.announcer.fails = True
    await end(harness, task)
    harness.announcer.fails = False
    await harness.store.read([task.ref])
    assert harness.announcer.announced == [], "it is left for a while to who may be sending it"

    await look_later(harness, task)
    assert len(harness.announcer.announced) == 1


async def test_who_dies_before_the_note_leaves_the_event_due(harness: Harness) -> None:
    # GIVEN a worker that ended the batch and died before it could say so: its store announced nothing
    if not isinstance(harness, ValkeyHarness):
        pytest.skip("the stand-in dies with the test")
    [task] = await submitted(harness, webhook=HOOK)
    await harness.silent_store.claim(lease_of(task))
    await harness.silent_store.complete(lease_of(task), ANSWER)

    await harness.store.claim(lease_of(task, "owner-b"))

    assert len(harness.announcer.announced) == 1


async def test_a_batch_without_a_webhook_is_not_announced_and_keeps_nothing_for_it(harness: Harness) -> None:
    [task] = await submitted(harness)
    await complete(harness, task)
    assert harness.announcer.announced == []
    if isinstance(harness, ValkeyHarness):
        fields = await harness.client.hkeys(f"batch:{{{TENANT}/{task.ref.batch_id}}}")
        assert not {b"webhook", b"marks", b"due", b"announced", b"delivery"} & set(fields)


async def test_a_batch_that_was_not_accepted_is_not_announced(harness: Harness) -> None:
    first, last = await submitted(harness, 2, webhook=HOOK)

    await harness.store.cancel([first.ref, last.ref], FailureCode.NOT_ACCEPTED)
    await harness.store.claim(lease_of(last))
    await look_later(harness, last)

    assert harness.announcer.announced == []


@pytest.mark.parametrize("place", range(3))
async def test_a_batch_that_redis_lost_is_rebuilt_with_its_webhook_and_what_has_ended(
    harness: Harness, place: int
) -> None:
    tasks = await submitted(harness, 3, webhook=HOOK)
    last = tasks.pop(place)
    for task in tasks:
        await complete(harness, task)

    await harness.lose_batch(TENANT, last.ref.batch_id)
    await harness.store.claim(lease_of(last))
    assert harness.announcer.announced == []
    await harness.store.fail(lease_of(last), FailureCode.CONTENT_POLICY)

    [announcement] = harness.announcer.announced
    assert announcement.counts == {"completed": 2, "failed": 1, "cancelled": 0}


async def test_a_task_that_redis_lost_after_its_end_does_not_hold_the_event_nor_send_it_again(harness: Harness) -> None:
    first, last = await submitted(harness, 2, webhook=HOOK)
    await complete(harness, first)
    await harness.lose(first.ref)
    await complete(harness, last)
    assert len(harness.announcer.announced) == 1

    # Its message comes once more, rebuilds it and ends it again.
    await complete(harness, first)

    assert len(harness.announcer.announced) == 1


async def test_a_repeat_of_the_request_gives_a_lost_batch_its_webhook(harness: Harness) -> None:
    batch = new_batch(2, digest="digest", webhook=HOOK)
    first, last = tasks_of(batch, await harness.store.create(batch))
    await complete(harness, first)
    await harness.lose_batch(TENANT, batch.batch_id)

    await harness.store.create(batch)
    await complete(harness, last)

    assert len(harness.announcer.announced) == 1


async def delivery_of(harness: Harness, task: Task) -> WebhookDelivery:
    batch = await harness.store.read_batch(TENANT, task.ref.batch_id)
    assert batch is not None
    assert batch.webhook == HOOK
    delivery: WebhookDelivery = batch.delivery
    return delivery


FIRST: Final = WebhookDelivery(WebhookDeliveryStatus.PENDING, 1, 500, WebhookDeliveryCode.REFUSED, START_MS + 5_000)
SECOND: Final = WebhookDelivery(WebhookDeliveryStatus.PENDING, 2, None, WebhookDeliveryCode.TIMEOUT, START_MS + 9_000)
DELIVERED: Final = WebhookDelivery(WebhookDeliveryStatus.DELIVERED, 3, 204, None, None, START_MS + 9_500)
GIVEN_UP: Final = WebhookDelivery(WebhookDeliveryStatus.FAILED, 4, 410, WebhookDeliveryCode.GONE)
UNDELIVERABLE: Final = WebhookDelivery(WebhookDeliveryStatus.FAILED, 0, None, WebhookDeliveryCode.UNDELIVERABLE)


@pytest.mark.parametrize(
    ("receipts", "known"),
    [
        ([], WebhookDelivery()),
        ([FIRST], FIRST),
        ([FIRST, FIRST, SECOND], SECOND),
        ([SECOND, FIRST], SECOND),
        ([SECOND, DELIVERED], DELIVERED),
        ([DELIVERED, FIRST, GIVEN_UP], DELIVERED),
        ([GIVEN_UP, SECOND], GIVEN_UP),
        ([GIVEN_UP, DELIVERED], DELIVERED),
        ([UNDELIVERABLE], UNDELIVERABLE),
        ([SECOND, UNDELIVERABLE], replace(UNDELIVERABLE, attempts=2)),
        ([UNDELIVERABLE, SECOND], UNDELIVERABLE),
        ([GIVEN_UP, UNDELIVERABLE], GIVEN_UP),
        ([DELIVERED, UNDELIVERABLE], DELIVERED),
        ([SECOND, UNDELIVERABLE, DELIVERED], DELIVERED),
    ],
)
async def test_receipts_in_any_order_leave_what_is_known_last(
    harness: Harness, receipts: list[WebhookDelivery], known: WebhookDelivery
) -> None:
    [task] = await submitted(harness, webhook=HOOK)

    for delivery in receipts:
        await receive(harness, DeliveryReceipt(TENANT, task.ref.batch_id, delivery))

    assert await delivery_of(harness, task) == known


async def test_a_receipt_makes_no_batch_and_gives_none_a_webhook(harness: Harness) -> None:
    [task] = await submitted(harness)
    unknown = task.ref.batch_id[::-1]

    await receive(harness, DeliveryReceipt(TENANT, task.ref.batch_id, DELIVERED))
    await receive(harness, DeliveryReceipt(TENANT, unknown, DELIVERED))

    batch = await harness.store.read_batch(TENANT, task.ref.batch_id)
    assert batch is not None
    assert (batch.webhook, batch.delivery) == (None, WebhookDelivery())
    assert await harness.store.read_batch(TENANT, unknown) is None


async def receive(harness: Harness, receipt: DeliveryReceipt) -> None:
    await harness.deliveries.record_receipt(receipt)
