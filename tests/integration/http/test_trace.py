"""Test the trace header from submit to the queue."""

from typing import Any

import pytest

from tests.integration.http.client import Api

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401  # the settings of conftest.py, of one server
    return request.getfixturevalue("valkey")


def test_the_sdk_hands_the_trace_of_the_request_to_sqs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN the environment of an invocation; SQS turns this header into each message's AWSTraceHeader
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "submit")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)
    sent: list[Any] = []
    api.submit.sqs.meta.events.register(
        "before-send.sqs.SendMessageBatch", lambda request, **_: sent.append(request.headers["X-Amzn-Trace-Id"])
    )

    assert api.post({"prompts": ["one", "two"]}).status == 202

    assert [header.decode() if isinstance(header, bytes) else header for header in sent] == [TRACE]
