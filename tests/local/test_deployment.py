"""template.yaml on the stack in a network that is there: what stands afterwards, and an upgrade with tasks in flight.

What MiniStack 1.5.33 can't hold of a deployment is named in docs/decisions/0041.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from samtranslator.yaml_helper import yaml_parse

from local.aws import REGION, STACK
from local.settings import ROOT
from tests.local_stack import KEY, Up, eventually, started

DEPLOY_SECONDS = 60
DONE_SECONDS = 60


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run a stack of this file's own: it is upgraded."""
    with started(tmp_path_factory.mktemp("stack"), MODEL_LATENCY="0.3", MODEL_CHUNK_DELAY="0.02") as running:
        yield running


@pytest.fixture(scope="module")
def network(up: Up) -> dict[str, str]:
    """Make a network, as an operator who has one, and name it as template.yaml's parameters do."""
    ec2 = up.aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"{REGION}{'ab'[number % 2]}")
        for number in range(4)
    ]
    ids = [subnet["Subnet"]["SubnetId"] for subnet in subnets]
    groups = [
        ec2.create_security_group(VpcId=vpc, GroupName=n, Description=n)["GroupId"] for n in ("functions", "worker")
    ]
    return {
        "VpcId": vpc,
        "IsolatedSubnetIds": ",".join(ids[:2]),
        "WorkerSubnetIds": ",".join(ids[2:]),
        "FunctionSecurityGroupId": groups[0],
        "WorkerSecurityGroupId": groups[1],
    }


def update(up: Up, change: Callable[[dict[str, Any]], None], **parameters: str) -> None:
    """Deploy the stack's own template with a change, as the next release would."""
    cloudformation = up.aws("cloudformation")
    body = cloudformation.get_template(StackName=STACK, TemplateStage="Original")["TemplateBody"]
    template = body if isinstance(body, dict) else yaml_parse(body)
    change(template)
    given = {
        parameter["ParameterKey"]: parameter["ParameterValue"]
        for parameter in cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Parameters"]
    }
    up.aws("s3").put_object(Bucket="sluice-artefacts", Key="next.yaml", Body=json.dumps(template).encode())
    cloudformation.update_stack(
        StackName=STACK,
        TemplateURL=f"https://s3.{REGION}.amazonaws.com/sluice-artefacts/next.yaml",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in (given | parameters).items()],
    )
    status = eventually(
        lambda: cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"],
        until=lambda seen: not seen.endswith("IN_PROGRESS"),
        seconds=DEPLOY_SECONDS,
    )
    assert status == "UPDATE_COMPLETE", reasons(cloudformation, STACK)


def reasons(cloudformation: Any, stack: str) -> list[str]:  # noqa: ANN401  # a client
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    failed = (event for event in events if event["ResourceStatus"].endswith("FAILED"))
    return [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed]


def of_a_next_build(template: dict[str, Any]) -> None:
    """Stamp it as `make build` does, and change something that every function sees."""
    stamp = f"next-{time.time_ns()}"
    template["Globals"]["Function"]["Environment"]["Variables"]["SLUICE_BUILD"] = stamp
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["VersionDescription"] = stamp
    template["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] = "WARNING"


def versions(up: Up) -> dict[str, str]:
    """Tell which version each function's alias points at."""
    functions = {name: value for name, value in up.resources().items() if name.endswith("Function")}
    lambda_ = up.aws("lambda")
    return {
        name: lambda_.get_alias(FunctionName=each, Name="live")["FunctionVersion"] for name, each in functions.items()
    }


@pytest.mark.parametrize("kind", [("TaskQueue", "DeadLetterQueue"), ("WorkflowQueue", "WorkflowDeadLetterQueue")])
def test_the_queues_are_as_the_template_says(up: Up, kind: tuple[str, str]) -> None:
    resources = up.resources()
    sqs = up.aws("sqs")

    tasks, dead = (
        sqs.get_queue_attributes(QueueUrl=resources[name], AttributeNames=["All"])["Attributes"] for name in kind
    )
    assert int(tasks["VisibilityTimeout"]) == 330
    assert int(tasks["MessageRetentionPeriod"]) == 864_000 < int(dead["MessageRetentionPeriod"]) == 1_209_600
    redrive = json.loads(tasks["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])) == (dead["QueueArn"], 20)


@pytest.mark.parametrize("function", ["WorkerFunction", "WorkflowFunction"])
def test_a_queue_feeds_its_workers_alias_and_reports_part_of_a_batch(up: Up, function: str) -> None:
    worker = up.resources()[function]

    mappings = up.aws("lambda").list_event_source_mappings()["EventSourceMappings"]
    [mapping] = [each for each in mappings if f":{worker}" in each["FunctionArn"]]
    assert mapping["FunctionArn"].endswith(f":{worker}:live")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == 2


def test_each_function_has_a_role_of_its_own_with_statements_that_name_their_resource(
    up: Up,
) -> None:
    resources, iam = up.resources(), up.aws("iam")
    roles = {name: value for name, value in resources.items() if name.endswith("Role")}

    lambda_ = up.aws("lambda")
    used = [
        lambda_.get_function_configuration(FunctionName=value)["Role"].rsplit("/", 1)[1]
        for name, value in resources.items()
        if name.endswith("Function")
    ]
    assert sorted(used) == sorted(value for name, value in roles.items() if name != "DeploymentRole")
    for role in used:
        [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for statement in (json.loads(document) if isinstance(document, str) else document)["Statement"]:
            # An ARN may end in a star of AWS's own, as that of a log group does.
            assert "*" not in str(statement["Action"])
            assert statement["Resource"] != "*"


def test_tasks_in_flight_survive_an_upgrade(up: Up) -> None:
    # GIVEN tasks of which some are with a worker and the rest in the queue
    before = versions(up)
    with httpx.Client(base_url=up.url, headers=KEY, timeout=60, trust_env=False) as api:
        prompts = [f"A joke about number {number}." for number in range(40)]
        accepted = api.post("/tasks", json={"prompts": prompts}).raise_for_status().json()
        batch = f"/batches/{accepted['batch_id']}"
        eventually(lambda: counts(api, batch), until=lambda seen: seen.get("processing", 0) > 0, seconds=DONE_SECONDS)

        # WHEN the next release is deployed
        update(up, of_a_next_build, ConcurrencyMin="2")
        in_flight = counts(api, batch)

        # THEN every function runs it, and no task is lost or paid for twice
        after = versions(up)
        assert all(int(after[name]) > int(before[name]) for name in before)
        done = eventually(
            lambda: counts(api, batch),
            until=lambda seen: seen.get("completed", 0) == len(prompts),
            seconds=DONE_SECONDS,
        )
        assert done["completed"] == len(prompts), (in_flight, done)
    by_prompt = up.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    assert list(by_prompt.values()) == [1] * len(prompts)


def counts(api: httpx.Client, batch: str) -> dict[str, int]:
    found: dict[str, int] = api.get(batch).raise_for_status().json()["counts"]
    return found


def test_a_network_that_is_there_is_taken_and_none_is_made(up: Up, network: dict[str, str]) -> None:
    # MiniStack keeps nothing of a function's network: where each function goes is held by tests/infra.
    update(up, of_a_next_build, **network)

    resources = up.resources()
    assert "NetworkPolicy" in resources
    assert not {"Network", "Cache"} & resources.keys()


def test_the_caches_users_and_its_parameters_are_made(up: Up, network: dict[str, str]) -> None:
    # GIVEN infra/cache.yaml without its nodes, whose server MiniStack starts in Docker
    template = yaml_parse((ROOT / "infra" / "cache.yaml").read_text())
    for name in ("Nodes", "Serverless", "NodeSecurityGroup"):
        del template["Resources"][name]
    del template["Outputs"]
    cloudformation, elasticache = up.aws("cloudformation"), up.aws("elasticache")

    # WHEN it is deployed
    cloudformation.create_stack(
        StackName="cache",
        TemplateBody=json.dumps(template),
        Parameters=[
            {"ParameterKey": "CacheName", "ParameterValue": "proof"},
            {"ParameterKey": "SubnetIds", "ParameterValue": network["IsolatedSubnetIds"]},
        ],
    )
    status = eventually(
        lambda: cloudformation.describe_stacks(StackName="cache")["Stacks"][0]["StackStatus"],
        until=lambda seen: not seen.endswith("IN_PROGRESS"),
        seconds=DEPLOY_SECONDS,
    )

    # THEN the users are there, all in one group; MiniStack can't show their rights: it does not escape an &
    assert status == "CREATE_COMPLETE", reasons(cloudformation, "cache")
    made = cloudformation.describe_stack_resources(StackName="cache")["StackResources"]
    users = {each["PhysicalResourceId"] for each in made if each["ResourceType"] == "AWS::ElastiCache::User"}
    assert {"proof-submit", "proof-worker", "proof-status", "proof-cancel", "proof-dead-letter"} <= users
    [group] = elasticache.describe_user_groups(UserGroupId="proof-users")["UserGroups"]
    assert set(group["UserIds"]) == users
