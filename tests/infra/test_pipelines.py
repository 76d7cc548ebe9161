"""Test the workflows and their roles: pinned actions, minimal permissions, and commands that exist."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.infra.commands import commands_in, complaints
from tests.infra.stack import ROOT, listed, read_yaml

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

STARS = {
    "ReadATemplate": "a template is checked before there is a stack that could be named",
    "EventSources": "a mapping is called by an id that Lambda makes; the condition says whose it is",
    "Look": "what only lists knows no resource",
    "AlarmSubscription": "SNS knows no resource for a subscription",
    "NameOfTheEndpoint": "the zone is AWS's own, and nobody is told its id",
}
"""The statements of github-oidc.yaml that may name every resource, each with its reason."""

type Template = dict[str, Any]


def read_bootstrap() -> Template:
    return read_yaml("infra/github-oidc.yaml")


def statements(template: Template, role: str) -> Iterator[Template]:
    for policy in template["Resources"][role]["Properties"]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def a_workflow_becomes_the_role_in_one_environment_alone(template: Template) -> Iterator[str]:
    role = template["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    for statement in role:
        exact = statement.get("Condition", {}).get("StringEquals", {})
        subject = str(exact.get("token.actions.githubusercontent.com:sub", "*"))
        if statement["Condition"].keys() != {"StringEquals"} or "*" in subject or ":environment:" not in subject:
            yield "DeployRole: its subject is not one environment of one repository"
        if exact.get("token.actions.githubusercontent.com:aud") != "sts.amazonaws.com":
            yield "DeployRole: its audience is not STS"


def only_cloudformation_becomes_the_other(template: Template) -> Iterator[str]:
    for statement in template["Resources"]["ExecutionRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
        if statement["Principal"] != {"Service": "cloudformation.amazonaws.com"}:
            yield f"ExecutionRole: {statement['Principal']} may become it"
        if "aws:SourceAccount" not in str(statement.get("Condition")):
            yield "ExecutionRole: another account's CloudFormation may become it"


def no_star_is_without_a_reason(template: Template) -> Iterator[str]:
    for role in ("DeployRole", "ExecutionRole"):
        for statement in statements(template, role):
            if any("*" in action for action in listed(statement["Action"])):
                yield f"{role}, {statement['Sid']}: an action with *"
            if "*" in listed(statement["Resource"]) and statement["Sid"] not in STARS:
                yield f"{role}, {statement['Sid']}: every resource"


def a_role_is_handed_to_named_services_alone(template: Template) -> Iterator[str]:
    for role in ("DeployRole", "ExecutionRole"):
        for statement in statements(template, role):
            handed_to = statement.get("Condition", {}).get("StringEquals", {}).get("iam:PassedToService")
            if "iam:PassRole" in listed(statement["Action"]) and not handed_to:
                yield f"{role}, {statement['Sid']}: PassRole to every service"


def what_makes_roles_makes_them_of_one_name(template: Template) -> Iterator[str]:
    """But for the one of ElastiCache, which AWS names, writes and lets ElastiCache alone become."""
    for role in ("DeployRole", "ExecutionRole"):
        for statement in statements(template, role):
            if any(action.startswith("iam:") for action in listed(statement["Action"])):
                for resource in listed(statement["Resource"]):
                    ours = "${StackName}-" in str(resource) or resource == {"Fn::GetAtt": ["ExecutionRole", "Arn"]}
                    if not ours and not is_of_elasticache(statement):
                        yield f"{role}, {statement['Sid']}: {resource}"


def is_of_elasticache(statement: Template) -> bool:
    return (
        statement["Action"] == "iam:CreateServiceLinkedRole"
        and ":role/aws-service-role/elasticache.amazonaws.com/" in str(statement["Resource"])
        and statement.get("Condition") == {"StringEquals": {"iam:AWSServiceName": "elasticache.amazonaws.com"}}
    )


def what_deploying_takes_beside_the_resources_own_rights_is_there(template: Template) -> Iterator[str]:
    """The endpoint's private name, and the role that an account's first cache makes."""
    granted = {action for each in statements(template, "ExecutionRole") for action in listed(each["Action"])}
    for action in ("route53:AssociateVPCWithHostedZone", "iam:CreateServiceLinkedRole"):
        if action not in granted:
            yield f"ExecutionRole: may not {action}"


def a_build_stays_as_long_as_a_stack_may_need_it(template: Template) -> Iterator[str]:
    """A lifecycle rule may remove replaced versions, but no current object."""
    for rule in template["Resources"]["Builds"]["Properties"]["LifecycleConfiguration"]["Rules"]:
        for key in sorted(rule.keys() & {"ExpirationInDays", "ExpirationDate"}):
            yield f"Builds, {rule['Id']}: {key} removes builds in use"


def the_recursion_of_a_function_may_be_set(template: Template) -> Iterator[str]:
    granted = {action for each in statements(template, "ExecutionRole") for action in listed(each["Action"])}
    for action in ("lambda:GetFunctionRecursionConfig", "lambda:PutFunctionRecursionConfig"):
        if action not in granted:
            yield f"ExecutionRole: may not {action}"


RULES = [
    a_workflow_becomes_the_role_in_one_environment_alone,
    only_cloudformation_becomes_the_other,
    no_star_is_without_a_reason,
    a_role_is_handed_to_named_services_alone,
    what_makes_roles_makes_them_of_one_name,
    what_deploying_takes_beside_the_resources_own_rights_is_there,
    a_build_stays_as_long_as_a_stack_may_need_it,
    the_recursion_of_a_function_may_be_set,
]


def trust(role: str) -> Callable[[Template], Template]:
    return lambda t: t["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]


def statement_of(sid: str) -> Callable[[Template], Template]:
    return lambda t: next(s for s in statements(t, "ExecutionRole") if s["Sid"] == sid)


def lifecycle_rule(template: Template) -> Template:
    rule: Template = template["Resources"]["Builds"]["Properties"]["LifecycleConfiguration"]["Rules"][0]
    return rule


SUBJECT = {"StringLike": {"token.actions.githubusercontent.com:sub": "repo:acme/*"}}
FAULTS = [
    (RULES[0], trust("DeployRole"), {"Condition": SUBJECT}),
    (RULES[0], trust("DeployRole"), {"Condition": {"StringEquals": {"token.actions.githubusercontent.com:sub": "*"}}}),
    (RULES[1], trust("ExecutionRole"), {"Principal": {"AWS": "*"}}),
    (RULES[1], trust("ExecutionRole"), {"Condition": {}}),
    (RULES[2], statement_of("Queues"), {"Action": "sqs:*"}),
    (RULES[2], statement_of("Queues"), {"Resource": "*"}),
    (RULES[3], statement_of("HandOverRoles"), {"Condition": {}}),
    (RULES[4], statement_of("Roles"), {"Resource": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}}),
    (RULES[4], statement_of("RoleOfTheCachesService"), {"Condition": {}}),
    (RULES[4], statement_of("RoleOfTheCachesService"), {"Action": "iam:CreateRole"}),
    (RULES[5], statement_of("NameOfTheEndpoint"), {"Action": "route53:GetHostedZone"}),
    (RULES[5], statement_of("RoleOfTheCachesService"), {"Action": "iam:GetRole"}),
    (RULES[6], lifecycle_rule, {"ExpirationInDays": 90}),
    (RULES[6], lifecycle_rule, {"ExpirationDate": "2027-01-01T00:00:00Z"}),
    (RULES[7], statement_of("Functions"), {"Action": "lambda:CreateFunction"}),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_bootstrap_keeps_the_rule(rule: Callable[[Template], Iterator[str]]) -> None:
    assert list(rule(read_bootstrap())) == []


@pytest.mark.parametrize(("rule", "place", "fault"), FAULTS)
def test_a_planted_fault_wakes_its_rule(
    rule: Callable[[Template], Iterator[str]], place: Callable[[Template], Template], fault: Template
) -> None:
    template = read_bootstrap()
    place(template).update(fault)

    assert list(rule(template))


def test_no_rule_is_without_a_fault() -> None:
    assert set(RULES) == {fault[0] for fault in FAULTS}


def jobs(text: str) -> Iterator[tuple[str, Template]]:
    yield from yaml.safe_load(text)["jobs"].items()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_by_its_commit_with_its_version_beside_it(path: Any) -> None:  # noqa: ANN401  # a path
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())

    assert used
    for action, beside in used:
        if not action.startswith("$/"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", beside), action


@pytest.mark.parametrize("repository", ["acme/sluice", "acme@1234567/sluice@987654321"])
def test_a_repository_is_named_as_in_its_tokens(repository: str) -> None:
    assert re.fullmatch(read_bootstrap()["Parameters"]["Repository"]["AllowedPattern"], repository)


@pytest.mark.parametrize(
    "repository",
    ["acme@1234567/sluice", "acme/sluice@987654321", "acme/*", "acme@*/sluice@*", "acme@x/sluice@y", "acme"],
)
def test_a_repository_with_one_id_or_a_wildcard_is_refused(repository: str) -> None:
    assert not re.fullmatch(read_bootstrap()["Parameters"]["Repository"]["AllowedPattern"], repository)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_has_the_rights_it_needs_and_the_workflow_none(path: Any) -> None:  # noqa: ANN401  # a path
    text = path.read_text()
    assert yaml.safe_load(text)["permissions"] == {}
    for name, job in jobs(text):
        deploys = name in {"dev", "prod", "promote"}
        assert job["permissions"] == {"contents": "read"} | ({"id-token": "write"} if deploys else {}), name
        for step in job.get("steps", []):
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_command_of_a_workflow_exists_with_its_options(path: Any) -> None:  # noqa: ANN401  # a path
    runs = [step["run"] for _, job in jobs(path.read_text()) for step in job.get("steps", []) if "run" in step]

    for run in runs:
        for words in commands_in(f"```sh\n{run}\n```\n"):
            if words[0] != "tar":
                assert list(complaints(words)) == [], run


def test_production_waits_for_dev_and_gets_the_build_that_dev_got() -> None:
    deploy = dict(jobs((ROOT / ".github/workflows/deploy.yml").read_text()))

    assert deploy["build"]["needs"] == "ci"
    assert deploy["dev"]["needs"] == "build"
    assert deploy["prod"]["needs"] == "dev"
    builds = [step for job in deploy.values() for step in job.get("steps", []) if "make build" in str(step.get("run"))]
    assert len(builds) == 1
    promote = (ROOT / ".github/workflows/promote.yml").read_text()
    assert "make build" not in promote
    assert "download-artifact" in promote


def test_each_secret_that_a_called_workflow_reads_is_declared_there_and_handed_over_by_each_caller() -> None:
    """Without both it reads an empty string, even where the secret is of the environment that its job runs in."""
    texts = {path.name: path.read_text() for path in WORKFLOWS}
    callers = [
        (name, job["uses"].rpartition("/")[2], job.get("secrets", {}))
        for name, text in texts.items()
        for _, job in jobs(text)
        if "uses" in job
    ]

    assert "SLUICE_KEY" in secrets_read(texts["promote.yml"])
    for caller, called, handed_over in callers:
        read = secrets_read(texts[called])
        declared = called_with(texts[called]).get("secrets", {})
        assert read <= declared.keys(), called
        assert handed_over == {name: f"${{{{ secrets.{name} }}}}" for name in declared}, (caller, called)


def secrets_read(text: str) -> set[str]:
    return set(re.findall(r"\bsecrets\.(\w+)", text))


def called_with(text: str) -> Template:
    # YAML 1.1 takes the key `on` for true.
    declared: Template | None = yaml.safe_load(text)[True]["workflow_call"]
    return declared or {}
