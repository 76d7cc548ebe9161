"""Packing by count and by bytes, and refusals inside an answer that says 200."""

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from common.domain.errors import QueueUnavailable
from common.domain.message import TaskMessage
from common.domain.task import Task, TaskRef, new_batch_id
from common.submission.queue import MOST_BYTES, MOST_ENTRIES, SqsTaskQueue, packs
from tests.requests import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef as Entry


def message(index: int) -> TaskMessage:
    ref = TaskRef("acme", new_batch_id(1, bytes(16)), index)
    return TaskMessage(Task(ref=ref, batch_size=100, created_ms=1, deadline_ms=2, retention_ms=3, model="m"), chat("é"))


MESSAGES = [message(index) for index in range(25)]


class FakeSqs:
    """Refuse each body as often as told, inside an answer that is a success."""

    def __init__(self, refusals: int = 0, error: Exception | None = None) -> None:
        self.taken: list[str] = []
        self.groups: set[str] = set()
        self._refusals = dict.fromkeys((each.encode() for each in MESSAGES), refusals)
        self._error = error

    def send_message_batch(self, *, QueueUrl: str, Entries: "Sequence[Entry]") -> dict[str, Any]:  # noqa: N803  boto3's names
        assert QueueUrl == "the queue"
        if self._error is not None:
            raise self._error
        failed = []
        for entry in Entries:
            body = entry["MessageBody"]
            if self._refusals[body] > 0:
                self._refusals[body] -= 1
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
            else:
                self.taken.append(body)
                self.groups.add(entry["MessageGroupId"])
        return {"Successful": [], "Failed": failed} if failed else {"Successful": []}


def queue_on(sqs: FakeSqs) -> SqsTaskQueue:
    return SqsTaskQueue(cast("SQSClient", sqs), "the queue", pauses=(0, 0))


@pytest.mark.parametrize("refusals", [0, 1, 2])
async def test_what_sqs_refuses_inside_a_batch_is_sent_again(refusals: int) -> None:
    sqs = FakeSqs(refusals)

    await queue_on(sqs).send(MESSAGES)

    assert sorted(sqs.taken) == sorted(each.encode() for each in MESSAGES)
    assert sqs.groups == {"acme"}


async def test_what_sqs_goes_on_refusing_is_an_error() -> None:
    with pytest.raises(QueueUnavailable):
        await queue_on(FakeSqs(refusals=3)).send(MESSAGES)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://sqs"),
        ClientError({"Error": {"Code": "AWS.SimpleQueueService.NonExistentQueue"}}, "SendMessageBatch"),
        TimeoutError(),
    ],
)
async def test_an_unreachable_queue_is_an_error(error: Exception) -> None:
    with pytest.raises(QueueUnavailable):
        await queue_on(FakeSqs(error=error)).send(MESSAGES)


async def test_a_queue_that_hangs_is_an_error_in_time() -> None:
    answered = threading.Event()

    class Hanging(FakeSqs):
        def send_message_batch(self, **_: object) -> dict[str, Any]:
            answered.wait(timeout=60)
            return {}

    try:
        with pytest.raises(QueueUnavailable):
            await SqsTaskQueue(cast("SQSClient", Hanging()), "the queue", most_seconds=0.01).send(MESSAGES)
    finally:
        answered.set()


@settings(derandomize=True)
@given(st.lists(st.one_of(st.integers(1, 1_000), st.integers(MOST_BYTES // 3, MOST_BYTES)), max_size=35))
def test_packs_hold_every_entry_once_in_order_and_within_the_limits(sizes: list[int]) -> None:
    # One string, cut: hypothesis draws many megabytes otherwise.
    text = "x" * MOST_BYTES
    entries: list[Entry] = [{"Id": str(place), "MessageBody": text[:size]} for place, size in enumerate(sizes)]

    packed = list(packs(entries))

    assert [entry for pack in packed for entry in pack] == entries
    for pack in packed:
        assert 1 <= len(pack) <= MOST_ENTRIES
        assert sum(len(entry["MessageBody"]) for entry in pack) <= MOST_BYTES


def test_a_full_pack_is_not_left_half_empty() -> None:
    entries: list[Entry] = [{"Id": str(place), "MessageBody": "x"} for place in range(21)]

    assert [len(pack) for pack in packs(entries)] == [10, 10, 1]
