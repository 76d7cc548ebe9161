"""infra/network.yaml created by moto's CloudFormation, and what is there afterwards.

MiniStack 1.5.33 knows no NAT gateway, no elastic address and no serverless cache, and starts a replication group in
Docker. moto knows the network, but for four things: Fn::Cidr, which is worked out here; which subnet a route table is
for, which is read from the template; rules of a group for going out; and whether a subnet gives public addresses. It
has no CloudFormation of ElastiCache. What is missing is held by test_network_and_cache.py, the users by
tests/integration/access.
"""

import ast
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from tests.infra.stack import read_yaml

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

CIDR = "10.42.0.0/20"
QUEUES = ["arn:aws:sqs:eu-west-1:123456789012:tasks", "arn:aws:sqs:eu-west-1:123456789012:webhooks"]


@dataclass(frozen=True)
class Network:
    """What EC2 shows of the network."""

    outputs: dict[str, str]
    subnets: dict[str, dict[str, Any]]
    routes_of: dict[str, list[dict[str, Any]]]
    groups: dict[str, dict[str, Any]]
    endpoints: list[dict[str, Any]]
    nats: list[dict[str, Any]]

    def subnets_of(self, output: str) -> list[str]:
        return self.outputs[output].split(",")


@pytest.fixture(scope="module", params=["false", "true"], ids=["one NAT", "NAT per zone"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    variables = {
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
        "AWS_DEFAULT_REGION": "eu-west-1",
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # no machine is started, and reading them takes a second
    }
    template = read_yaml("infra/network.yaml")
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        for name, value in variables.items():
            environment.setenv(name, value)
        cloudformation: CloudFormationClient = boto3.client("cloudformation")
        parameters = {"Name": "sluice", "Cidr": CIDR, "NatPerZone": request.param, "QueueArns": ",".join(QUEUES)}
        cloudformation.create_stack(
            StackName="network",
            TemplateBody=json.dumps(with_addresses(template)),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        [stack] = cloudformation.describe_stacks(StackName="network")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        made: Any = cloudformation.describe_stack_resources(StackName="network")["StackResources"]
        physical = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in made
            if "LogicalResourceId" in resource
        }
        table_of = {
            physical[body["Properties"]["SubnetId"]["Ref"]]: physical[body["Properties"]["RouteTableId"]["Ref"]]
            for name, body in template["Resources"].items()
            if body["Type"] == "AWS::EC2::SubnetRouteTableAssociation" and name in physical
        }
        yield seen({output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}, table_of)


def with_addresses(value: Any) -> Any:  # noqa: ANN401  # a template
    """Work out Fn::Cidr."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Cidr"}:
            _, count, bits = value["Fn::Cidr"]
            parts = ipaddress.ip_network(CIDR).subnets(new_prefix=32 - bits)
            return [str(part) for part, _ in zip(parts, range(count), strict=False)]
        return {key: with_addresses(item) for key, item in value.items()}
    return [with_addresses(item) for item in value] if isinstance(value, list) else value


def seen(outputs: dict[str, str], table_of: dict[str, str]) -> Network:
    ec2: Any = boto3.client("ec2")
    ours = [{"Name": "vpc-id", "Values": [outputs["VpcId"]]}]
    tables = {table["RouteTableId"]: table for table in ec2.describe_route_tables(Filters=ours)["RouteTables"]}
    return Network(
        outputs=outputs,
        subnets={subnet["SubnetId"]: subnet for subnet in ec2.describe_subnets(Filters=ours)["Subnets"]},
        routes_of={
            subnet: [route for route in tables[table]["Routes"] if route.get("GatewayId") != "local"]
            for subnet, table in table_of.items()
        },
        groups={group["GroupId"]: group for group in ec2.describe_security_groups(Filters=ours)["SecurityGroups"]},
        endpoints=ec2.describe_vpc_endpoints(Filters=ours)["VpcEndpoints"],
        nats=ec2.describe_nat_gateways(Filters=ours)["NatGateways"],
    )


def test_the_isolated_subnets_have_no_way_out(network: Network) -> None:
    isolated = network.subnets_of("IsolatedSubnetIds")

    assert [network.routes_of[subnet] for subnet in isolated] == [[], []]


def test_the_worker_goes_out_through_nat_and_nobody_comes_in(network: Network) -> None:
    for subnet in network.subnets_of("WorkerSubnetIds"):
        [route] = network.routes_of[subnet]
        assert route["DestinationCidrBlock"] == "0.0.0.0/0"
        assert route["NatGatewayId"] in {nat["NatGatewayId"] for nat in network.nats}


def test_each_kind_of_subnet_is_in_two_zones(network: Network) -> None:
    for output in ("IsolatedSubnetIds", "WorkerSubnetIds"):
        zones = {network.subnets[subnet]["AvailabilityZone"] for subnet in network.subnets_of(output)}
        assert len(zones) == 2


def test_nat_stands_where_the_internet_begins_and_nothing_else_does(network: Network) -> None:
    public = {
        subnet for subnet, routes in network.routes_of.items() if any("igw-" in str(r.get("GatewayId")) for r in routes)
    }
    assert {nat["SubnetId"] for nat in network.nats} == public
    assert not public & {*network.subnets_of("IsolatedSubnetIds"), *network.subnets_of("WorkerSubnetIds")}


def test_with_nat_per_zone_the_loss_of_a_zone_does_not_reach_the_other(network: Network) -> None:
    used = {
        network.subnets[subnet]["AvailabilityZone"]: network.routes_of[subnet][0]["NatGatewayId"]
        for subnet in network.subnets_of("WorkerSubnetIds")
    }
    zone_of = {nat["NatGatewayId"]: network.subnets[nat["SubnetId"]]["AvailabilityZone"] for nat in network.nats}

    if len(network.nats) == 2:
        assert all(zone_of[nat] == zone for zone, nat in used.items())
    else:
        assert len(set(used.values())) == 1


def test_the_one_endpoint_is_that_of_sqs_for_our_queues(network: Network) -> None:
    [endpoint] = network.endpoints

    assert endpoint["ServiceName"] == "com.amazonaws.eu-west-1.sqs"
    assert sorted(endpoint["SubnetIds"]) == sorted(network.subnets_of("IsolatedSubnetIds"))
    [statement] = ast.literal_eval(endpoint["PolicyDocument"])["Statement"]
    assert statement["Resource"] == QUEUES


def test_nobody_may_come_to_the_functions(network: Network) -> None:
    for name in ("Function", "Worker"):
        assert network.groups[network.outputs[f"{name}SecurityGroupId"]]["IpPermissions"] == []
