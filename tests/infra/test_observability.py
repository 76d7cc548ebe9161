"""Check infra/observability.yaml against its rules, and the rules against planted faults."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.observability import RULES, Template, alarms, read_observability, widgets
from tests.infra.rules import Complaints
from tests.infra.stack import ROOT, Stack, read_template

type Rule = Callable[[Stack, Template], Complaints]

ROOT_TEMPLATE = "template.yaml"

NEW_QUEUES = {
    "More": {
        "Type": "AWS::SQS::Queue",
        "Properties": {"RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Unwatched", "Arn"]}}},
    },
    "Unwatched": {"Type": "AWS::SQS::Queue", "Properties": {}},
}


def replaced(old: str, new: str) -> Callable[[Any], Any]:
    """Return what writes something else in the dashboard."""

    def replace(template: Any) -> None:  # noqa: ANN401  # a template
        body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        assert old in body[0]
        body[0] = body[0].replace(old, new)

    return replace


def without(*path: str) -> Callable[[Any], Any]:
    """Return what takes a place out."""

    def take_out(template: Any) -> None:  # noqa: ANN401  # a template
        place = template
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return take_out


def with_(value: object, *path: str) -> Callable[[Any], Any]:
    """Return what puts a value at a place."""

    def put(template: Any) -> None:  # noqa: ANN401  # a template
        place = template
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return put


FAULTS = [
    ("a_dead_letter_queue_has_its_alarm", "Unwatched", ROOT_TEMPLATE, lambda t: t["Resources"].update(NEW_QUEUES)),
    ("a_dead_letter_queue_has_its_alarm", "DeadLetterQueue", "", without("Resources", "DeadLettersAlarm")),
    (
        "a_dead_letter_queue_has_its_alarm",
        "ApproximateNumberOfMessagesNotVisible",
        "",
        without("Resources", "DeadLettersHiddenAlarm"),
    ),
    (
        "a_dead_letter_queue_has_its_alarm",
        "DeadLetterQueue",
        ROOT_TEMPLATE,
        with_(
            {"Fn::GetAtt": ["TaskQueue", "QueueName"]},
            "Resources",
            "Observability",
            "Properties",
            "Parameters",
            "DeadLetterQueueName",
        ),
    ),
    ("what_is_watched_exists", "TasksDone", "", replaced('"TasksCompleted"', '"TasksDone"')),
    ("what_is_watched_exists", "Callings", "", replaced('MetricName=\\"Calls\\"', 'MetricName=\\"Callings\\"')),
    ("what_is_watched_exists", "authenticator", "", replaced('"service", "authorizer"', '"service", "authenticator"')),
    (
        "what_is_watched_exists",
        "Refusals",
        "",
        with_("Refusals", "Resources", "ModelRefusesUsAlarm", "Properties", "MetricName"),
    ),
    ("what_is_written_is_watched", "Faults", "", replaced('"Faults"', '"QueueFailures"')),
    (
        "an_alarm_tells_somebody_and_where_to_read_on",
        "ApiErrorsAlarm: tells",
        "",
        without("Resources", "ApiErrorsAlarm", "Properties", "AlarmActions"),
    ),
    (
        "an_alarm_tells_somebody_and_where_to_read_on",
        "ApiErrorsAlarm: does not",
        "",
        with_("Look!", "Resources", "ApiErrorsAlarm", "Properties", "AlarmDescription"),
    ),
    (
        "every_parameter_is_handed_over",
        "StageName",
        ROOT_TEMPLATE,
        without("Resources", "Observability", "Properties", "Parameters", "StageName"),
    ),
    (
        "every_parameter_is_handed_over",
        "Colour",
        ROOT_TEMPLATE,
        with_("red", "Resources", "Observability", "Properties", "Parameters", "Colour"),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(Stack.of(read_template()), read_observability())) == []


@pytest.mark.parametrize(("rule", "culprit", "where", "plant"), FAULTS)
def test_a_planted_fault_wakes_its_rule(rule: str, culprit: str, where: str, plant: Callable[[Any], Any]) -> None:
    root, observability = read_template(), read_observability()
    plant(root if where == ROOT_TEMPLATE else observability)

    [check] = [each for each in RULES if each.__name__ == rule]
    complaints = list(check(Stack.of(root), observability))

    assert any(culprit in complaint for complaint in complaints), complaints


def test_no_rule_is_without_a_fault() -> None:
    assert {rule.__name__ for rule in RULES} == {fault[0] for fault in FAULTS}


def test_the_api_is_watched_under_the_name_that_it_gets() -> None:
    stack = Stack.of(read_template())

    title = stack.properties("Api")["Body"]["info"]["title"]

    assert "Name" not in stack.properties("Api")
    assert title == stack.properties("Observability")["Parameters"]["ApiName"]


def test_functions_write_into_the_namespace_that_is_watched() -> None:
    stack = Stack.of(read_template())
    watched = stack.properties("Observability")["Parameters"]["Namespace"]

    for name, _ in stack.of_type("Lambda::Function"):
        assert stack.variables(name)["POWERTOOLS_METRICS_NAMESPACE"] == watched, name


def test_the_dashboards_widgets_have_titles_lie_side_by_side_and_name_what_the_template_knows() -> None:
    template = read_observability()
    known = {*template["Parameters"], *template["Resources"], "AWS::Region"}
    rows: dict[int, int] = {}

    for widget in widgets(template):
        assert widget["type"] == "text" or widget["properties"]["title"]
        if "CacheName" not in json.dumps(widget):  # of the cache's there are two kinds, in one place
            rows[widget["y"]] = rows.get(widget["y"], 0) + widget["width"]
        for name in json.dumps(widget).split("${")[1:]:
            assert name.partition("}")[0].partition(".")[0] in known, name

    assert set(rows.values()) == {24}


def test_every_alarm_has_its_paragraph_in_the_operations_guide() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()

    for name, alarm in alarms(read_observability()):
        suffix = alarm["AlarmName"]["Fn::Sub"].removeprefix("${Name}-")
        assert f"\n#### {suffix}\n" in text, name
