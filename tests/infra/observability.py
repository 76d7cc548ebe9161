"""Read infra/observability.yaml, and define the rules for alarms, dashboard and metrics; see `rules`."""

import json
import re
from collections.abc import Iterator
from typing import Any

from common.runtime.metrics import Metric
from tests.infra.rules import Complaints, queues, sources
from tests.infra.stack import Stack, read_yaml, target

NAMESPACE = {"Ref": "Namespace"}

type Template = dict[str, Any]


def read_observability() -> Template:
    """Return the template of the alarms and the dashboard."""
    return read_yaml("infra/observability.yaml")


def alarms(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each alarm's name in the template and its properties."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield name, resource["Properties"]


def watched(alarm: dict[str, Any]) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """Yield namespace, name and dimensions of each metric of an alarm."""
    metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
    for metric in metrics:
        yield metric["Namespace"], metric["MetricName"], {d["Name"]: d["Value"] for d in metric["Dimensions"]}


def widgets(template: Template) -> list[dict[str, Any]]:
    """Return the dashboard's widgets, with those of both kinds of cache, and `${Name}` for what is filled in."""
    body, parts = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    _, nodes, otherwise = parts["CacheWidgets"]["Fn::If"]
    serverless = otherwise["Fn::If"][1]
    found: list[dict[str, Any]] = []
    for more in (nodes["Fn::Sub"], serverless["Fn::Sub"], ""):
        # Each is a whole dashboard: JSON that does not parse would deploy, and show nothing.
        found += [each for each in json.loads(body.replace("${CacheWidgets}", more))["widgets"] if each not in found]
    return found


def drawn(template: Template) -> Iterator[tuple[str, str]]:
    """Yield name and service of each metric of ours on the dashboard; the service is empty where it is searched."""
    for widget in widgets(template):
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                for name in re.findall(r'MetricName="(\w+)"', metric[0]["expression"]):
                    yield name, ""
            elif metric[0] == "${Namespace}":
                yield metric[1], metric[3]


def a_dead_letter_queue_has_its_alarm(stack: Stack, template: Template) -> Complaints:
    """Every queue that another hands over to, or that a function's failures go to."""
    dead = {target(queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")) for _, queue in queues(stack)}
    for kind, path in (
        ("Lambda::Function", ("DeadLetterConfig", "TargetArn")),
        ("Lambda::EventInvokeConfig", ("DestinationConfig", "OnFailure", "Destination")),
        ("Lambda::EventSourceMapping", ("DestinationConfig", "OnFailure", "Destination")),
    ):
        for _, properties in stack.of_type(kind):
            place: Any = properties
            for step in path:
                place = place.get(step, {})
            dead.add(target(place))
    given = stack.properties("Observability")["Parameters"]
    watched_for_both: dict[str, set[str]] = {}
    for _, alarm in alarms(template):
        for namespace, name, dimensions in watched(alarm):
            if namespace == "AWS/SQS":
                watched_for_both.setdefault(target(given.get(target(dimensions["QueueName"]))), set()).add(name)
    fed_upon = {queue for _, _, queue, _ in sources(stack)}
    for name in sorted(dead - {""}):
        # What a function receives again and again is mostly hidden.
        hidden = ["ApproximateNumberOfMessagesNotVisible"] if name in fed_upon else []
        for metric in ["ApproximateNumberOfMessagesVisible", *hidden]:
            if metric not in watched_for_both.get(name, set()):
                yield f"{name}: no alarm on its {metric}"


def what_is_watched_exists(stack: Stack, template: Template) -> Complaints:
    services = {stack.variables(name).get("POWERTOOLS_SERVICE_NAME") for name, _ in stack.of_type("Lambda::Function")}
    of_alarms = [
        (name, dimensions["service"])
        for _, alarm in alarms(template)
        for namespace, name, dimensions in watched(alarm)
        if namespace == NAMESPACE
    ]
    for name, service in [*of_alarms, *drawn(template)]:
        if name not in {*Metric, "ColdStart"}:
            yield f"{name}: no function writes it"
        if service and service not in services:
            yield f"{name}: no function is called {service}"


def what_is_written_is_watched(_: Stack, template: Template) -> Complaints:
    seen = {name for _, alarm in alarms(template) for _, name, _ in watched(alarm)} | {
        name for name, _ in drawn(template)
    }
    for metric in Metric:
        if metric not in seen:
            yield f"{metric}: in no alarm and on no dashboard"


def an_alarm_tells_somebody_and_where_to_read_on(_: Stack, template: Template) -> Complaints:
    told = {"Fn::If": ["MakesTopic", {"Ref": "Topic"}, {"Ref": "AlarmTopicArn"}]}
    for name, alarm in alarms(template):
        if alarm.get("AlarmActions") != [told]:
            yield f"{name}: tells nobody"
        suffix = alarm["AlarmName"]["Fn::Sub"].removeprefix("${Name}-")
        if not alarm["AlarmDescription"].endswith(f"docs/operations.md, {suffix}."):
            yield f"{name}: does not say where to read on"


def every_parameter_is_handed_over(stack: Stack, template: Template) -> Complaints:
    given = stack.properties("Observability")["Parameters"].keys()
    for name, parameter in template["Parameters"].items():
        if name not in given and "Default" not in parameter:
            yield f"{name}: is not handed over"
    for name in given - template["Parameters"].keys():
        yield f"{name}: is handed over, and not known"


RULES = [
    a_dead_letter_queue_has_its_alarm,
    what_is_watched_exists,
    what_is_written_is_watched,
    an_alarm_tells_somebody_and_where_to_read_on,
    every_parameter_is_handed_over,
]
