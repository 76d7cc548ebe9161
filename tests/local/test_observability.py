"""Test the deployed alarms and dashboard."""

import json
from typing import Any

import pytest

from tests.infra.observability import alarms, read_observability
from tests.local_stack import Up


@pytest.fixture
def cloudwatch(stack: Up) -> Any:  # noqa: ANN401  # a boto3 client
    client = stack.aws("cloudwatch")
    yield client
    client.close()


def test_every_alarm_that_no_parameter_adds_is_there(cloudwatch: Any) -> None:  # noqa: ANN401
    template = read_observability()
    [dashboard] = cloudwatch.list_dashboards()["DashboardEntries"]
    wanted = {
        alarm["AlarmName"]["Fn::Sub"].replace("${Name}", dashboard["DashboardName"]): alarm["MetricName"]
        for name, alarm in alarms(template)
        if "Condition" not in template["Resources"][name]
    }

    # MiniStack answers with little more than this.
    found = {each["AlarmName"]: each["MetricName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]}

    assert wanted.items() <= found.items()


def test_the_dashboard_is_json_with_everything_filled_in(cloudwatch: Any) -> None:  # noqa: ANN401
    [entry] = cloudwatch.list_dashboards()["DashboardEntries"]

    body = cloudwatch.get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"]

    assert len(json.loads(body)["widgets"]) > 15
    assert "${" not in body
