"""The queue's adapter where it stands alone; with a real queue it is tested in tests/integration/worker."""

import pytest

from common.worker.message import ReceivedMessage
from common.worker.redelivery import RedeliveryQueue


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


async def test_a_queue_that_cannot_be_reached_is_told_and_not_raised() -> None:
    told: list[tuple[str, int]] = []
    queue = RedeliveryQueue("http://127.0.0.1:1/queue", lambda code, count: told.append((code, count)))

    await queue.return_messages([(ReceivedMessage(str(n), "receipt", 1, ""), 1.0) for n in range(12)])

    await queue.close()
    assert sorted(told) == [("EndpointConnectionError", 2), ("EndpointConnectionError", 10)]


async def test_what_could_not_be_sent_anew_is_told_and_not_called_sent() -> None:
    told: list[tuple[str, int]] = []
    queue = RedeliveryQueue("http://127.0.0.1:1/queue", lambda code, count: told.append((code, count)))

    sent: list[ReceivedMessage] = []

    await queue.resend([(ReceivedMessage("one", "receipt", 2, ""), "acme", 1.0)], sent.append)

    await queue.close()
    assert sent == []
    assert told == [("EndpointConnectionError", 1)]


@pytest.mark.parametrize(
    ("receives", "attributes", "is_suspect"), [(1, {}, False), (3, {}, True), (1, {"Suspect": {}}, True)]
)
def test_a_delivery_is_suspect_by_its_receives_or_by_its_mark(
    receives: int, attributes: dict[str, object], *, is_suspect: bool
) -> None:
    record = {
        "messageId": "one",
        "receiptHandle": "receipt",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "messageAttributes": attributes,
    }

    assert ReceivedMessage.of(record).is_suspect is is_suspect


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            "1-5759e988-bd862e3fe1be46a994272793",
        ),
        ("Sampled=0;Root=1-5759e988-bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272793"),
        ("Root=1-5759e988-bd862e3fe1be46a994272793ff;Sampled=1", None),
        ("attack at dawn", None),
        (None, None),
    ],
)
def test_a_delivery_knows_the_trace_of_the_request_that_brought_its_task(
    header: str | None, trace_id: str | None
) -> None:
    attributes = {"ApproximateReceiveCount": "1"} | ({"AWSTraceHeader": header} if header else {})
    record = {"messageId": "one", "receiptHandle": "receipt", "body": "{}", "attributes": attributes}

    assert ReceivedMessage.of(record).trace_id == trace_id
