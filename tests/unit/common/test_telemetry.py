"""Test the log, the metrics and the trace of every function."""

import json
from typing import Any

import pytest

from common.domain.errors import SettingError
from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry
from tests.invocation import Context

SECRET = "Attack at dawn"
CONTEXT = Context(aws_request_id="request-1")


@pytest.fixture
def env(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"POWERTOOLS_SERVICE_NAME": request.node.name, "POWERTOOLS_METRICS_NAMESPACE": "Sluice"}


@pytest.mark.parametrize("name", ["POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"])
def test_a_missing_setting_is_named(env: dict[str, str], name: str) -> None:
    del env[name]

    with pytest.raises(SettingError) as caught:
        Telemetry.from_env(env)

    assert caught.value.name == name


def test_a_handler_logs_its_request_and_writes_its_metrics(
    env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = Telemetry.from_env(env)

    @telemetry.observe
    def handler(event: dict[str, Any], context: object) -> str:
        del event, context
        telemetry.logger.info("hello", extra={"task_id": "task-1"})
        telemetry.count(Metric.CALLS)
        telemetry.count(Metric.CALLS, 2)
        telemetry.duration(Metric.CALL_SECONDS, 1.5)
        telemetry.annotate("task_id", "task-1")
        return "done"

    assert handler({"body": SECRET}, CONTEXT) == "done"

    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    log = next(line for line in lines if "message" in line)
    metrics = next(line for line in lines if "Calls" in line)
    assert (log["task_id"], log["function_request_id"]) == ("task-1", "request-1")
    assert (metrics["Calls"], metrics["CallSeconds"]) == ([3], [1.5])
    assert metrics["service"] == env["POWERTOOLS_SERVICE_NAME"]
    assert SECRET not in printed, "the event is not logged"


def test_what_is_split_is_written_once_for_each_value_and_summed_by_the_service_as_well(
    env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = Telemetry.from_env(env)

    @telemetry.observe
    def handler(event: dict[str, Any], context: object) -> None:
        del event, context
        for model in ("small", "large", "small"):
            telemetry.count(Metric.CALLS, model=model)

    def lines() -> list[dict[str, Any]]:
        return [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "Calls" in line]

    # WHEN it is called twice, THEN each time says what it has counted itself
    for _ in range(2):
        handler({}, CONTEXT)
        written = lines()
        assert [(line["model"], line["Calls"]) for line in written] == [("small", [2]), ("large", [1])]
        for line in written:
            assert line["service"] == env["POWERTOOLS_SERVICE_NAME"]
            assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"], ["service", "model"]]


def test_metrics_are_written_also_when_the_handler_raises(
    env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = Telemetry.from_env(env)

    @telemetry.observe
    def handler(event: dict[str, Any], context: object) -> None:
        del event, context
        telemetry.count(Metric.CALLS, model="small")
        raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        handler({}, CONTEXT)

    printed = capsys.readouterr().out
    assert '"Calls":[1.0]' in printed
    assert SECRET not in printed
    assert (telemetry.sums, telemetry.split) == ({}, {})


def test_an_exception_is_logged_by_type_and_place_without_its_text(
    env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = Telemetry.from_env(env)
    try:
        json.loads(SECRET)
    except ValueError as error:
        error.add_note(SECRET)
        telemetry.logger.exception("failed")

    printed = capsys.readouterr().out
    log = json.loads(printed)
    assert log["exception_name"] == "JSONDecodeError"
    assert "test_telemetry.py" in log["exception"]
    assert SECRET not in printed


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"LAMBDA_TASK_ROOT": "/var/task", "AWS_SAM_LOCAL": "true"},
        {"LAMBDA_TASK_ROOT": "/var/task", "POWERTOOLS_TRACE_DISABLED": "true"},
    ],
)
def test_where_nobody_listens_there_is_no_tracer(env: dict[str, str], more: dict[str, str]) -> None:
    assert Telemetry.from_env({**env, **more}).tracer is None
