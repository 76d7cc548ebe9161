"""The queue's depth, from counts that are some seconds old."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from common.domain.errors import QueueUnavailable
from common.submission.queue_depth import (
    KEPT_SECONDS,
    LEAST_WAIT_SECONDS,
    MOST_WAIT_SECONDS,
    UNKNOWN_WAIT_SECONDS,
    QueueDepth,
)

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class FakeSqs:
    def __init__(self) -> None:
        self.waiting, self.running, self.delayed, self.asked = 0, 0, 0, 0
        self.is_down = False

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        self.asked += 1
        if self.is_down:
            raise EndpointConnectionError(endpoint_url="https://sqs")
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": str(self.waiting),
                "ApproximateNumberOfMessagesNotVisible": str(self.running),
                "ApproximateNumberOfMessagesDelayed": str(self.delayed),
            }
        }


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sqs() -> FakeSqs:
    return FakeSqs()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def depth(sqs: FakeSqs, clock: Clock) -> QueueDepth:
    return QueueDepth(cast("SQSClient", sqs), "the queue", clock=clock)


async def test_what_waits_runs_or_is_delayed_counts(depth: QueueDepth, sqs: FakeSqs) -> None:
    sqs.waiting, sqs.running, sqs.delayed = 50, 30, 10

    assert await depth.current() == 90


async def test_sqs_is_asked_once_in_a_while_and_what_we_send_is_added(
    depth: QueueDepth, sqs: FakeSqs, clock: Clock
) -> None:
    assert await depth.current() == 0
    depth.sent(60)
    assert await depth.current() == 60
    assert sqs.asked == 1

    clock.now += KEPT_SECONDS
    assert await depth.current() == 0
    assert sqs.asked == 2


async def test_the_wait_is_that_of_a_queue_that_goes_on_getting_shorter(
    depth: QueueDepth, sqs: FakeSqs, clock: Clock
) -> None:
    sqs.waiting = 400
    await depth.current()
    assert depth.seconds_to_drain(1) == UNKNOWN_WAIT_SECONDS
    clock.now += 10
    sqs.waiting = 300  # ten a second
    await depth.current()

    assert depth.seconds_to_drain(300) == 30
    assert depth.seconds_to_drain(1) == LEAST_WAIT_SECONDS
    assert depth.seconds_to_drain(10**6) == MOST_WAIT_SECONDS
    clock.now += 10
    sqs.waiting = 400
    await depth.current()
    assert depth.seconds_to_drain(1) == UNKNOWN_WAIT_SECONDS


async def test_a_depth_that_nobody_tells_is_no_depth(depth: QueueDepth, sqs: FakeSqs) -> None:
    sqs.is_down = True

    with pytest.raises(QueueUnavailable):
        await depth.current()
