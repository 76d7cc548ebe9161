"""Provide AWS for tests: moto's server on loopback, with SQS and Secrets Manager."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION: Final = "eu-west-1"


@contextmanager
def running_aws() -> Iterator[str]:
    """Run a server for the length of the block, and give its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """Give the address of a server that answers for AWS."""
    with running_aws() as url:
        yield url


def aws_variables(url: str) -> dict[str, str]:
    """Return what a function has in its environment so that its clients speak to this server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def received(sqs: "SQSClient", queue_url: str) -> dict[str, Any]:
    """Take up to ten messages from a queue, and make the event of them as the poller does."""
    answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message["Attributes"]),
                "eventSource": "aws:sqs",
            }
            for message in answer.get("Messages", [])
        ]
    }
