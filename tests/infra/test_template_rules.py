"""Check the translated template.yaml against the rules, and the rules against planted faults."""

import tomllib

import pytest

from common.worker.settings import MOST_CONCURRENCY
from tests.infra import rules, rules_of_access
from tests.infra.faults import FAULTS, Fault, Rule
from tests.infra.stack import ROOT, Stack, read_template

RULES = [*rules.RULES, *rules_of_access.RULES]


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack.of(read_template())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_keeps_the_rule(rule: Rule, stack: Stack) -> None:
    assert list(rule(stack)) == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_wakes_its_rule(fault: Fault) -> None:
    # GIVEN a template that breaks one rule
    stack = Stack.of(fault.plant(read_template()))

    # WHEN that rule looks at it
    complaints = list(fault.rule(stack))

    # THEN it complains, and of the right place
    assert any(fault.culprit in complaint for complaint in complaints), complaints


def test_no_rule_is_without_a_fault() -> None:
    assert {rule.__name__ for rule in RULES} == {fault.rule.__name__ for fault in FAULTS}


OF_SETTINGS = [
    rules.visibility_outlasts_an_invocation,
    rules.large_batches_have_a_window,
    rules.each_time_is_shorter_than_the_next,
    rules_of_access.a_functions_environment_is_what_its_settings_read,
]
"""The rules that a parameter's value can break; CloudFormation, which cannot reckon, would deploy it."""


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_what_samconfig_sets_fits_together(environment: str) -> None:
    deploy = tomllib.loads((ROOT / "samconfig.toml").read_text())[environment]["deploy"]["parameters"]
    stack = Stack.of(read_template(), **dict(each.split("=", 1) for each in deploy["parameter_overrides"]))

    assert [complaint for rule in OF_SETTINGS for complaint in rule(stack)] == []


@pytest.mark.parametrize(
    ("parameters", "culprit"),
    [
        ({"WorkerTimeout": "120"}, "WorkerFunction: MODEL_TIMEOUT_SECONDS must be at most 112"),
        ({"Concurrency": "10", "ConcurrencyMin": "11"}, "WorkflowFunction: CONCURRENCY_MIN"),
        ({"ApiConcurrency": "100"}, "StatusFunction: MAX_HELD_CALLS must be from 1 to 99"),
        ({"ApiConcurrency": "200"}, "OpenaiFunction: MAX_HELD_CALLS must be from 1 to 199"),
        ({"ApiConcurrency": "200", "MaxHeldCalls": "0"}, "SubmitFunction: MAX_HELD_CALLS must be from 1 to 199"),
    ],
)
def test_parameters_that_stop_a_function_are_noticed(parameters: dict[str, str], culprit: str) -> None:
    stack = Stack.of(read_template(), **parameters)

    complaints = [complaint for rule in OF_SETTINGS for complaint in rule(stack)]

    assert any(culprit in complaint for complaint in complaints), complaints


def test_each_function_behind_the_api_has_the_concurrency_that_is_reserved() -> None:
    stack = Stack.of(read_template(), ApiConcurrency="150")

    reserved = {name: each.get("ReservedConcurrentExecutions") for name, each in stack.of_type("Lambda::Function")}

    assert {name for name, count in reserved.items() if count is not None} == {
        f"{name}Function" for name in rules.API_FUNCTIONS
    }
    assert set(reserved.values()) == {None, "150"}


def test_the_template_has_what_the_rules_are_about(stack: Stack) -> None:
    functions = {name for name, _ in stack.of_type("Lambda::Function")}
    routes = {
        (method.upper(), path)
        for path, methods in stack.properties("Api")["Body"]["paths"].items()
        for method in methods
    }

    assert functions == {
        "AuthorizerFunction",
        "CancelFunction",
        "DeadLetterFunction",
        "DocsFunction",
        "OpenaiFunction",
        "ReceiptFunction",
        "StatusFunction",
        "SubmitFunction",
        "WebhookFunction",
        "WorkerFunction",
        "WorkflowFunction",
    }
    assert routes == {
        ("GET", "/openai/v1/{proxy+}"),
        ("POST", "/openai/v1/{proxy+}"),
        ("DELETE", "/openai/v1/{proxy+}"),
        ("POST", "/tasks"),
        ("GET", "/tasks"),
        ("GET", "/tasks/{task_id}"),
        ("GET", "/tasks/{task_id}/stream"),
        ("POST", "/batches/{batch_id}/retry"),
        ("POST", "/workflows/{name}"),
        ("GET", "/workflows"),
        ("GET", "/usage"),
        ("GET", "/batches/{batch_id}"),
        ("POST", "/tasks/{task_id}/cancel"),
        ("POST", "/batches/{batch_id}/cancel"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/console"),
        ("GET", "/console/{file}"),
    }
    assert {(queue, function) for _, _, queue, function in rules.sources(stack)} == {
        ("TaskQueue", "WorkerFunction"),
        ("WorkflowQueue", "WorkflowFunction"),
        ("DeadLetterQueue", "DeadLetterFunction"),
        ("WorkflowDeadLetterQueue", "DeadLetterFunction"),
        ("WebhookQueue", "WebhookFunction"),
        ("ReceiptQueue", "ReceiptFunction"),
        ("WebhookDeadLetterQueue", "ReceiptFunction"),
    }


def test_the_calls_of_an_environment_leave_file_descriptors_for_the_rest() -> None:
    parameters = read_template()["Parameters"]

    assert parameters["Concurrency"]["MaxValue"] == parameters["ConcurrencyMin"]["MaxValue"] == MOST_CONCURRENCY
    # Lambda's quota is 1,024 for an environment. Redis, SQS, logs and the runtime need some too.
    assert MOST_CONCURRENCY <= 1024 - 100
