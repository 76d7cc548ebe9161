"""Compare the deploying role with the permissions that the handlers of CloudFormation's resource types declare.

cfn-lint ships the provider schemas. A handler declares what it may call for any property, also for those that Sluice
does not set.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cfnlint
import pytest

from tests.infra.stack import NESTED, Stack, listed, read_template, read_yaml

NOT_USED = {
    "no IPv6, tenancy, VPN, Lattice, transferred address or private NAT": """
        ec2:AcceptAddressTransfer ec2:AssignPrivateNatGatewayAddress ec2:AssociateNatGatewayAddress
        ec2:AssociateSubnetCidrBlock ec2:AttachVpnGateway ec2:CreateVpcEncryptionControl
        ec2:DescribeVpnGateways ec2:DetachVpnGateway
        ec2:DisassociateNatGatewayAddress ec2:DisassociateSubnetCidrBlock ec2:ModifyVpcTenancy
        ec2:UnassignPrivateNatGatewayAddress vpc-lattice:CreateServiceNetworkVpcEndpointAssociation
        vpc-lattice:DescribeServiceNetworkVpcEndpointAssociation vpce:AllowMultiRegion""",
    "no log delivery, log policy, index or key of a log group": """
        firehose:PutRecord firehose:PutRecordBatch firehose:TagDeliveryStream logs:AssociateKmsKey
        logs:CreateLogDelivery logs:CreateLogStream logs:DeleteDataProtectionPolicy
        logs:DeleteIndexPolicy logs:DeleteLogDelivery
        logs:DeleteResourcePolicy logs:DisassociateKmsKey logs:GetLogDelivery logs:ListLogDeliveries
        logs:PutBearerTokenAuthentication logs:PutDataProtectionPolicy logs:PutIndexPolicy logs:PutLogEvents
        logs:PutLogGroupDeletionProtection logs:PutResourcePolicy logs:UpdateLogDelivery s3:REST.PUT.OBJECT""",
    "no group or user of IAM, and no permissions boundary": """
        iam:AttachGroupPolicy iam:AttachUserPolicy iam:DeleteRolePermissionsBoundary iam:DetachGroupPolicy
        iam:DetachUserPolicy iam:PutRolePermissionsBoundary""",
    "no code signing, file system, provisioned concurrency, capacity provider or pinned runtime": """
        elasticfilesystem:DescribeMountTargets lambda:AssociateRuntimeAlias lambda:DeleteFunctionCodeSigningConfig
        lambda:DeleteProvisionedConcurrencyConfig lambda:GetCodeSigningConfig lambda:PassCapacityProvider
        lambda:PutFunctionCodeSigningConfig lambda:PutFunctionScalingConfig lambda:PutProvisionedConcurrencyConfig
        lambda:PutRuntimeManagementConfig s3files:ListMountTargets""",
    "no policy of a stack, an API or a topic's data, no other billing view, no server": """
        apigateway:UpdateRestApiPolicy billing:GetBillingViewData cloudformation:GetStackPolicy
        cloudformation:SetStackPolicy cloudformation:UpdateTerminationProtection codedeploy:RegisterOnPremisesInstance
        sns:PutDataProtectionPolicy""",
}
"""Declared permissions that no property in these templates needs, by reason."""

INLINE_POLICIES_LIMIT = 10_240
"""Characters of all inline policies of a role, without whitespace (quotas of IAM)."""


@cache
def declared() -> dict[str, set[str]]:
    """Return the permissions of each resource type of the templates, for create, read, update and delete."""
    types = {resource["Type"] for path in NESTED.values() for resource in read_yaml(path)["Resources"].values()}
    types |= {each["Type"] for each in Stack.of(read_template(), GradualDeploys="true").resources.values()}
    folder = Path(cfnlint.__file__).parent / "data/schemas/resources"
    schemas = {each["typeName"]: each for each in map(json.loads, (path.read_text() for path in folder.glob("*.json")))}
    return {
        kind: {
            permission.lower()
            for operation in ("create", "read", "update", "delete")
            for permission in schemas[kind]["handlers"].get(operation, {}).get("permissions", [])
        }
        for kind in types
    }


def policy_statements(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in template["Resources"]["ExecutionRole"]["Properties"]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def granted(template: dict[str, Any]) -> set[str]:
    return {action.lower() for statement in policy_statements(template) for action in listed(statement["Action"])}


def not_used() -> set[str]:
    return {permission.lower() for group in NOT_USED.values() for permission in group.split()}


def missing(template: dict[str, Any]) -> set[str]:
    return set().union(*declared().values()) - granted(template) - not_used()


def test_the_role_may_do_what_each_resource_types_handlers_declare() -> None:
    assert missing(read_yaml("infra/github-oidc.yaml")) == set()


@pytest.mark.parametrize(
    ("sid", "action"),
    [
        ("Functions", "lambda:PutFunctionRecursionConfig"),
        ("Queues", "sqs:GetQueueUrl"),
        ("Network", "ec2:ReplaceRoute"),
        ("Cache", "elasticache:RemoveTagsFromResource"),
        ("KeyOfTheCache", "kms:CreateGrant"),
    ],
)
def test_a_right_that_is_taken_away_is_missed(sid: str, action: str) -> None:
    template = read_yaml("infra/github-oidc.yaml")
    statement = next(each for each in policy_statements(template) if each["Sid"] == sid)
    statement["Action"].remove(action)

    assert missing(template) == {action.lower()}


def test_what_is_not_used_is_declared_and_not_granted() -> None:
    assert not_used() <= set().union(*declared().values())
    assert not_used() & granted(read_yaml("infra/github-oidc.yaml")) == set()


def resolved(value: Any, names: dict[str, str]) -> Any:  # noqa: ANN401  # a policy's
    """Return a policy as IAM receives it."""
    match value:
        case {"Fn::Sub": str(text)}:
            for name, replacement in names.items():
                text = text.replace(f"${{{name}}}", replacement)
            return text
        case dict():
            return {key: resolved(item, names) for key, item in value.items()}
        case list():
            return [resolved(item, names) for item in value]
    return value


def test_the_role_is_within_iams_limit_of_size_with_the_longest_names() -> None:
    template = read_yaml("infra/github-oidc.yaml")
    names = {"AWS::Partition": "aws", "AWS::Region": "ap-southeast-1", "AWS::AccountId": "1" * 12}
    names |= {name: "x" * template["Parameters"][name]["MaxLength"] for name in ("StackName", "CacheName")}
    names["Builds.Arn"] = "arn:aws:s3:::" + "b" * 63
    policies = template["Resources"]["ExecutionRole"]["Properties"]["Policies"]

    text = json.dumps(resolved([each["PolicyDocument"] for each in policies], names), separators=(",", ":"))

    assert len(text) <= INLINE_POLICIES_LIMIT
