"""Check network and cache against the rules, and the rules against planted faults."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.rules import Complaints
from tests.infra.rules_of_network import (
    RULES,
    a_changed_number_of_shards_keeps_the_records,
    a_function_is_where_its_work_is,
    a_function_signs_in_as_itself_alone,
    every_user_signs_in_and_has_few_rights,
    every_version_is_reached_by_its_alias,
    lambda_may_hang_functions_into_the_network,
    only_the_functions_reach_the_cache,
    redis_and_its_functions_have_no_way_to_the_internet,
    the_authorizer_is_asked_by_its_alias,
    the_cache_knows_nobody_but_its_users,
    the_cache_refuses_instead_of_evicting,
    the_cache_speaks_tls_and_encrypts_what_it_keeps,
    the_endpoint_has_a_policy,
    the_endpoint_lets_through_what_the_functions_behind_it_may,
    what_is_called_as_a_parameter_is_given_it,
    what_is_there_is_used_and_nothing_made,
)
from tests.infra.stack import Templates

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
        a_changed_number_of_shards_keeps_the_records,
        "UseOnlineResharding",
        "cache",
        "Resources Nodes UpdatePolicy",
        GONE,
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
        what_is_called_as_a_parameter_is_given_it,
        "cache: is not given ServerlessGigabytes",
        "root",
        "Resources Cache Properties Parameters ServerlessGigabytes",
        GONE,
    ),
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
    (
        the_authorizer_is_asked_by_its_alias,
        "alias by",
        "root",
        "Resources Api Properties Auth Authorizers ApiKey FunctionArn",
        {"Fn::GetAtt": ["AuthorizerFunction", "Arn"]},
    ),
    (the_authorizer_is_asked_by_its_alias, "not there yet", "root", "Resources Api DependsOn", GONE),
]


def planted(template: str, path: str, value: object) -> Templates:
    sources = Templates.read().sources
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
