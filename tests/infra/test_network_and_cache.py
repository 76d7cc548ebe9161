"""Hold the network, the cache and what functions get of them against rules, and the rules against planted faults."""

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.infra.rules import sources
from tests.infra.rules_of_access import POLLING, statements
from tests.infra.stack import ROOT, Stack, deployed, listed, read_template, target

type Complaints = Iterator[str]

OUTSIDE = {"AuthorizerFunction", "DocsFunction", "WebhookFunction"}
"""Functions that need no Redis, and so no network: those that need AWS or the internet have both without one."""

IN_NAT = {"WorkerFunction", "WorkflowFunction"}
"""Functions in the network that call somebody outside."""

DANGEROUS = (
    "+@all",
    "allkeys",
    "~*",
    "allchannels",
    "&*",
    "nopass",
    "+@dangerous",
    "+@admin",
    "+script",
    "+config",
    "+keys",
)
"""What no user's rights may have in them."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The three templates as written, and what they deploy."""

    sources: dict[str, dict[str, Any]]

    @classmethod
    def read(cls) -> "Templates":
        nested = {name: yaml_parse((ROOT / "infra" / f"{name}.yaml").read_text()) for name in ("network", "cache")}
        return cls({"root": read_template(), **nested})

    def root(self, **parameters: str) -> Stack:
        return Stack.of(self.sources["root"], **parameters)

    def nested(self, name: str, **parameters: str) -> Stack:
        return Stack(self.sources[name], deployed(self.sources[name], **parameters))


def the_cache_speaks_tls_and_encrypts_what_it_keeps(templates: Templates) -> Complaints:
    for kind, wanted in (
        ("TransitEncryptionEnabled", True),
        ("AtRestEncryptionEnabled", True),
        ("TransitEncryptionMode", "required"),
    ):
        for name, nodes in templates.nested("cache").of_type("ElastiCache::ReplicationGroup"):
            if nodes.get(kind) != wanted:
                yield f"{name}: {kind} is not {wanted}"
    for name, nodes in templates.nested("cache", KmsKeyArn="arn:key").of_type("ElastiCache::ReplicationGroup"):
        if nodes.get("KmsKeyId") != "arn:key":
            yield f"{name}: KmsKeyArn is not used"


def the_cache_refuses_instead_of_evicting(templates: Templates) -> Complaints:
    cache = templates.nested("cache")
    for name, nodes in cache.of_type("ElastiCache::ReplicationGroup"):
        group = cache.properties(target(nodes.get("CacheParameterGroupName")) or name)
        if group.get("Properties", {}).get("maxmemory-policy") != "noeviction":
            yield f"{name}: its policy is not noeviction"
        if group.get("Properties", {}).get("cluster-enabled") != "yes" or nodes.get("ClusterMode") != "enabled":
            yield f"{name}: not in cluster mode"


def only_the_functions_reach_the_cache(templates: Templates) -> Complaints:
    cache = templates.nested("cache", FunctionSecurityGroupId="sg-1", WorkerSecurityGroupId="sg-2")
    for name, group in cache.of_type("EC2::SecurityGroup"):
        for rule in group["SecurityGroupIngress"]:
            if rule.get("SourceSecurityGroupId") not in {"sg-1", "sg-2"} or rule["FromPort"] != rule["ToPort"]:
                yield f"{name}: lets in more than the functions"
    for name, nodes in cache.of_type("ElastiCache::ReplicationGroup"):
        if [target(group) for group in nodes.get("SecurityGroupIds", [])] != ["NodeSecurityGroup"]:
            yield f"{name}: not in its own security group alone"


def every_user_signs_in_and_has_few_rights(templates: Templates) -> Complaints:
    cache = templates.nested("cache")
    users = dict(cache.of_type("ElastiCache::User"))
    for name, user in users.items():
        if user.get("AuthenticationMode") != {"Type": "iam"}:
            yield f"{name}: does not sign in with IAM"
        rights = user["AccessString"].split()
        for right in rights:
            if right in DANGEROUS:
                yield f"{name}: has {right}"
        if "-@all" not in rights or "resetchannels" not in rights:
            yield f"{name}: does not begin with nothing"
        if user["UserId"] != user["UserName"]:
            yield f"{name}: IAM needs one name for both"


def the_cache_knows_nobody_but_its_users(templates: Templates) -> Complaints:
    cache = templates.nested("cache")
    users = {name for name, _ in cache.of_type("ElastiCache::User")}
    for name, group in cache.of_type("ElastiCache::UserGroup"):
        if {target(user) for user in group["UserIds"]} != users:
            yield f"{name}: does not have all users"
    for kind in ("ElastiCache::ReplicationGroup", "ElastiCache::ServerlessCache"):
        for chosen in ("node", "serverless"):
            for name, made in templates.nested("cache", CacheKind=chosen).of_type(kind):
                if [target(group) for group in listed(made.get("UserGroupIds", made.get("UserGroupId")))] != ["Users"]:
                    yield f"{name}: without the users"


def a_function_signs_in_as_itself_alone(templates: Templates) -> Complaints:
    root = templates.root()
    known = {user["UserId"]["Fn::Sub"] for _, user in templates.nested("cache").of_type("ElastiCache::User")}
    for name, function in root.of_type("Lambda::Function"):
        user = root.variables(name).get("REDIS_USERNAME")
        role = target(function["Role"])
        allowed = [statement for owner, statement in root.statements() if owner == role]
        connects = [each for each in allowed if "elasticache:Connect" in listed(each["Action"])]
        if user is None:
            if connects:
                yield f"{name}: may sign in, and has no user"
            continue
        if user["Fn::Sub"] not in known:
            yield f"{name}: {user['Fn::Sub']} is no user of the cache"
        suffix = f":user:{user['Fn::Sub']}"
        resources = [each for statement in connects for each in listed(statement["Resource"])]
        users = [each["Fn::Sub"] for each in resources if "Fn::Sub" in each]
        if len(users) != 1 or not users[0].endswith(suffix):
            yield f"{name}: may sign in as {users}"
        if root.variables(name)["REDIS_IAM"] != "true" or root.variables(name)["REDIS_TLS"] != "true":
            yield f"{name}: signs in without IAM or TLS"


def a_function_is_where_its_work_is(templates: Templates) -> Complaints:
    root = templates.root()
    for name, function in root.of_type("Lambda::Function"):
        network = function.get("VpcConfig")
        if name in OUTSIDE:
            if network:
                yield f"{name}: in a network, which it does not need"
            continue
        kind = "Worker" if name in IN_NAT else "Isolated"
        group = "Worker" if name in IN_NAT else "Function"
        subnets = {"Fn::Split": [",", {"Fn::GetAtt": ["Network", f"Outputs.{kind}SubnetIds"]}]}
        groups = [{"Fn::GetAtt": ["Network", f"Outputs.{group}SecurityGroupId"]}]
        if network != {"SubnetIds": subnets, "SecurityGroupIds": groups}:
            yield f"{name}: not in the {kind} subnets with the group {group}"
        if {"Ref": "NetworkPolicy"} not in root.properties(target(function["Role"]))["ManagedPolicyArns"]:
            yield f"{name}: Lambda may not hang it in"


def lambda_may_hang_functions_into_the_network(templates: Templates) -> Complaints:
    """Lambda's own check before CreateFunction names no interface: a resource of one kind is a no to it."""
    allowed = {
        action: resource
        for name, statement in templates.root().statements()
        if name == "NetworkPolicy" and statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    if str(allowed.get("ec2:DeleteNetworkInterface", "")).count(":*/*") != 1:
        yield "NetworkPolicy: Lambda refuses it, for it may not delete any interface"


def what_is_there_is_used_and_nothing_made(templates: Templates) -> Complaints:
    stacks = {name for name, _ in templates.root(CacheHost="redis.example").of_type("CloudFormation::Stack")}
    if stacks & {"Network", "Cache"}:
        yield "a CacheHost: a network or a cache is made all the same"
    serverless = templates.root(CacheKind="serverless")
    if "Network" in serverless.resources or any("VpcConfig" in f for _, f in serverless.of_type("Lambda::Function")):
        yield "a serverless cache: a network is made all the same"
    own = templates.root(
        VpcId="vpc-1",
        IsolatedSubnetIds="subnet-1,subnet-2",
        WorkerSubnetIds="subnet-3,subnet-4",
        FunctionSecurityGroupId="sg-1",
        WorkerSecurityGroupId="sg-2",
    )
    if "Network" in own.resources:
        yield "a VpcId: a network is made all the same"
    expected = {"SubnetIds": {"Fn::Split": [",", "subnet-3,subnet-4"]}, "SecurityGroupIds": ["sg-2"]}
    if own.properties("WorkerFunction").get("VpcConfig") != expected:
        yield "a VpcId: WorkerFunction is not in it"


def redis_and_its_functions_have_no_way_to_the_internet(templates: Templates) -> Complaints:
    network = templates.nested("network")
    subnets = [target(part) for part in network.source["Outputs"]["IsolatedSubnetIds"]["Value"]["Fn::Join"][1]]
    table_of = {
        target(each["SubnetId"]): target(each["RouteTableId"])
        for _, each in network.of_type("EC2::SubnetRouteTableAssociation")
    }
    leading_out = {target(route["RouteTableId"]) for _, route in network.of_type("EC2::Route")}
    for subnet in subnets:
        if table_of.get(subnet) in {None, *leading_out}:
            yield f"{subnet}: has a way out, or the VPC's own routes"
    for name, properties in network.of_type("EC2::Subnet"):
        if properties.get("MapPublicIpOnLaunch"):
            yield f"{name}: gives public addresses"
    given = templates.sources["root"]["Resources"]["Cache"]["Properties"]["Parameters"]["SubnetIds"]
    if given["Fn::If"][1] != {"Fn::GetAtt": ["Network", "Outputs.IsolatedSubnetIds"]}:
        yield "Cache: not in the isolated subnets"


def the_endpoint_has_a_policy(templates: Templates) -> Complaints:
    for name, endpoint in templates.nested("network", QueueArns="arn:queue").of_type("EC2::VPCEndpoint"):
        statements = endpoint.get("PolicyDocument", {}).get("Statement", [{"Action": "*", "Resource": "*"}])
        for statement in statements:
            if "*" in str(statement["Action"]) or "*" in str(statement["Resource"]):
                yield f"{name}: lets more through than our queues"


def the_endpoint_lets_through_what_the_functions_behind_it_may(templates: Templates) -> Complaints:
    """What a role may do with the queue that feeds its function is Lambda's poller's, which is not in the network."""
    root = templates.root()
    [endpoint] = templates.nested("network", QueueArns="arn:queue").of_type("EC2::VPCEndpoint")
    open_to = {action for each in endpoint[1]["PolicyDocument"]["Statement"] for action in listed(each["Action"])}
    given = root.properties("Network")["Parameters"]["QueueArns"]["Fn::Join"][1]
    open_for = {target(queue) for queue in given}
    fed = {(function, queue) for _, _, queue, function in sources(root)}
    for name, function in root.of_type("Lambda::Function"):
        if "VpcConfig" not in function:
            continue
        for actions, resources in statements(root, name):
            for action, queue in itertools.product(sorted(actions), map(target, resources)):
                if not action.startswith("sqs:") or ((name, queue) in fed and action in POLLING):
                    continue
                if action not in open_to or queue not in open_for:
                    yield f"SqsEndpoint: stops {name} at {action} on {queue}"


def every_version_is_reached_by_its_alias(templates: Templates) -> Complaints:
    root = templates.root(GradualDeploys="true")
    aliases = {target(alias["FunctionName"]): name for name, alias in root.of_type("Lambda::Alias")}
    for name, _ in root.of_type("Lambda::Function"):
        if name not in aliases:
            yield f"{name}: no alias"
        elif "CodeDeployLambdaAliasUpdate" not in root.resources[aliases[name]].get("UpdatePolicy", {}):
            yield f"{name}: a new version takes over at once"
    for name, source in root.of_type("Lambda::EventSourceMapping"):
        if target(source["FunctionName"]) not in aliases.values():
            yield f"{name}: passes the alias by"
    for version, properties in root.of_type("Lambda::Version"):
        if properties.get("Description") != "unbuilt":
            yield f"{version}: not made anew by each build"
    for name, group in root.of_type("CodeDeploy::DeploymentGroup"):
        if not group.get("AlarmConfiguration", {}).get("Alarms"):
            yield f"{name}: no alarm takes it back"


RULES: list[Callable[[Templates], Complaints]] = [
    the_cache_speaks_tls_and_encrypts_what_it_keeps,
    the_cache_refuses_instead_of_evicting,
    only_the_functions_reach_the_cache,
    every_user_signs_in_and_has_few_rights,
    the_cache_knows_nobody_but_its_users,
    a_function_signs_in_as_itself_alone,
    a_function_is_where_its_work_is,
    lambda_may_hang_functions_into_the_network,
    what_is_there_is_used_and_nothing_made,
    redis_and_its_functions_have_no_way_to_the_internet,
    the_endpoint_has_a_policy,
    the_endpoint_lets_through_what_the_functions_behind_it_may,
    every_version_is_reached_by_its_alias,
]

_CONNECT = "Resources StatusRole Properties Policies 0 PolicyDocument Statement -1 Fn::If 1"
GONE = object()

FAULTS: list[tuple[Callable[[Templates], Complaints], str, str, str, object]] = [
    (
        the_cache_speaks_tls_and_encrypts_what_it_keeps,
        "TransitEncryptionEnabled",
        "cache",
        "Resources Nodes Properties TransitEncryptionEnabled",
        False,
    ),
    (
        the_cache_speaks_tls_and_encrypts_what_it_keeps,
        "TransitEncryptionMode",
        "cache",
        "Resources Nodes Properties TransitEncryptionMode",
        "preferred",
    ),
    (
        the_cache_speaks_tls_and_encrypts_what_it_keeps,
        "AtRestEncryptionEnabled",
        "cache",
        "Resources Nodes Properties AtRestEncryptionEnabled",
        GONE,
    ),
    (
        the_cache_speaks_tls_and_encrypts_what_it_keeps,
        "KmsKeyArn",
        "cache",
        "Resources Nodes Properties KmsKeyId",
        GONE,
    ),
    (
        the_cache_refuses_instead_of_evicting,
        "noeviction",
        "cache",
        "Resources NodeParameters Properties Properties maxmemory-policy",
        "volatile-lru",
    ),
    (
        the_cache_refuses_instead_of_evicting,
        "cluster mode",
        "cache",
        "Resources NodeParameters Properties Properties cluster-enabled",
        "no",
    ),
    (
        only_the_functions_reach_the_cache,
        "lets in more",
        "cache",
        "Resources NodeSecurityGroup Properties SecurityGroupIngress 0 ToPort",
        65535,
    ),
    (
        only_the_functions_reach_the_cache,
        "lets in more",
        "cache",
        "Resources NodeSecurityGroup Properties SecurityGroupIngress 0",
        {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "CidrIp": "0.0.0.0/0"},
    ),
    (
        only_the_functions_reach_the_cache,
        "its own security group",
        "cache",
        "Resources Nodes Properties SecurityGroupIds",
        GONE,
    ),
    (
        every_user_signs_in_and_has_few_rights,
        "IAM",
        "cache",
        "Resources StatusUser Properties AuthenticationMode Type",
        "no-password-required",
    ),
    (
        every_user_signs_in_and_has_few_rights,
        "has +@all",
        "cache",
        "Resources StatusUser Properties AccessString",
        "on ~task:* resetchannels -@all +@all",
    ),
    (
        every_user_signs_in_and_has_few_rights,
        "begin with nothing",
        "cache",
        "Resources StatusUser Properties AccessString",
        "on ~task:* -@all +ping",
    ),
    (the_cache_knows_nobody_but_its_users, "all users", "cache", "Resources Users Properties UserIds 0", GONE),
    (
        the_cache_knows_nobody_but_its_users,
        "without the users",
        "cache",
        "Resources Nodes Properties UserGroupIds",
        GONE,
    ),
    (
        the_cache_knows_nobody_but_its_users,
        "without the users",
        "cache",
        "Resources Serverless Properties UserGroupId",
        GONE,
    ),
    (
        a_function_signs_in_as_itself_alone,
        "StatusFunction: may sign in as",
        "root",
        f"{_CONNECT} Resource",
        {"Fn::Sub": "a:user:${CacheName}-worker"},
    ),
    (a_function_signs_in_as_itself_alone, "no user of the cache", "cache", "Resources StatusUser", GONE),
    (a_function_is_where_its_work_is, "WorkerFunction", "root", "Resources WorkerFunction Properties VpcConfig", GONE),
    (
        a_function_is_where_its_work_is,
        "AuthorizerFunction",
        "root",
        "Resources AuthorizerFunction Properties VpcConfig",
        {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    ),
    (
        a_function_is_where_its_work_is,
        "may not hang",
        "root",
        "Resources CancelRole Properties ManagedPolicyArns 1",
        GONE,
    ),
    (
        lambda_may_hang_functions_into_the_network,
        "NetworkPolicy",
        "root",
        "Resources NetworkPolicy Properties PolicyDocument Statement 1 Resource Fn::Sub",
        "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:network-interface/*",
    ),
    (what_is_there_is_used_and_nothing_made, "a CacheHost", "root", "Resources Cache Condition", GONE),
    (
        what_is_there_is_used_and_nothing_made,
        "serverless",
        "root",
        "Conditions MakesNodes",
        {"Condition": "MakesCache"},
    ),
    (what_is_there_is_used_and_nothing_made, "a VpcId", "root", "Conditions MakesNetwork", {"Condition": "MakesNodes"}),
    (
        redis_and_its_functions_have_no_way_to_the_internet,
        "IsolatedSubnetA",
        "network",
        "Resources IsolatedRoutesA",
        GONE,
    ),
    (
        redis_and_its_functions_have_no_way_to_the_internet,
        "IsolatedSubnetB",
        "network",
        "Resources WorkerRouteToNatA Properties RouteTableId Ref",
        "IsolatedRoutes",
    ),
    (
        redis_and_its_functions_have_no_way_to_the_internet,
        "public addresses",
        "network",
        "Resources PublicSubnetA Properties MapPublicIpOnLaunch",
        True,
    ),
    (
        redis_and_its_functions_have_no_way_to_the_internet,
        "Cache: not in",
        "root",
        "Resources Cache Properties Parameters SubnetIds Fn::If 1 Fn::GetAtt",
        ["Network", "Outputs.WorkerSubnetIds"],
    ),
    (the_endpoint_has_a_policy, "SqsEndpoint", "network", "Resources SqsEndpoint Properties PolicyDocument", GONE),
    (
        the_endpoint_has_a_policy,
        "SqsEndpoint",
        "network",
        "Resources SqsEndpoint Properties PolicyDocument Statement 0 Action",
        "sqs:*",
    ),
    (
        the_endpoint_lets_through_what_the_functions_behind_it_may,
        "SubmitFunction at sqs:GetQueueAttributes on WorkflowQueue",
        "network",
        "Resources SqsEndpoint Properties PolicyDocument Statement 0 Action",
        ["sqs:SendMessage", "sqs:ChangeMessageVisibility"],
    ),
    (
        the_endpoint_lets_through_what_the_functions_behind_it_may,
        "StatusFunction at sqs:SendMessage on WebhookQueue",
        "root",
        "Resources Network Properties Parameters QueueArns Fn::Join 1 2",
        GONE,
    ),
    (every_version_is_reached_by_its_alias, "at once", "root", "Globals Function DeploymentPreference Enabled", False),
    (every_version_is_reached_by_its_alias, "no alarm", "root", "Globals Function DeploymentPreference Alarms", GONE),
    (
        every_version_is_reached_by_its_alias,
        "by each build",
        "root",
        "Resources WorkerFunction Properties VersionDescription",
        GONE,
    ),
]


def planted(template: str, path: str, value: object) -> Templates:
    sources = copy.deepcopy(Templates.read().sources)
    *way, last = path.split(" ")
    place: Any = sources[template]
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    key = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[key]
    else:
        place[key] = value
    return Templates(sources)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_templates_keep_the_rule(rule: Callable[[Templates], Complaints]) -> None:
    assert list(rule(Templates.read())) == []


@pytest.mark.parametrize(("rule", "culprit", "template", "path", "value"), FAULTS)
def test_a_planted_fault_wakes_its_rule(
    rule: Callable[[Templates], Complaints], culprit: str, template: str, path: str, value: object
) -> None:
    complaints = list(rule(planted(template, path, value)))

    assert any(culprit in complaint for complaint in complaints), complaints


def test_no_rule_is_without_a_fault() -> None:
    assert {fault[0] for fault in FAULTS} == set(RULES)
