"""Test the Rules of template.yaml: CloudFormation refuses wrong parameters before it creates a resource."""

import copy
from typing import Any

import pytest

from tests.infra.stack import read_template

DURABLE = {"CacheDurability": "sync", "CacheNodeType": "cache.m7g.large"}


def value_of(function: Any, parameters: dict[str, str]) -> Any:  # noqa: ANN401  # a template's
    """Evaluate a function of a rule, as far as the template uses them."""
    match function:
        case {"Ref": str(name)}:
            return parameters[name]
        case {"Fn::Equals": [one, other]}:
            return value_of(one, parameters) == value_of(other, parameters)
        case {"Fn::Not": [inner]}:
            return not value_of(inner, parameters)
        case {"Fn::Or": parts}:
            return any(value_of(part, parameters) for part in parts)
        case {"Fn::Contains": [members, member]}:
            return value_of(member, parameters) in members
        case str():
            return function
    raise AssertionError(f"no function of a rule: {function}")


def refusals(template: dict[str, Any], **parameters: str) -> list[str]:
    """Return the sentences with which CloudFormation refuses these parameters, the rest at their defaults."""
    values = {
        name: str(each["Default"]) for name, each in template["Parameters"].items() if "Default" in each
    } | parameters
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if value_of(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), values)
        for assertion in rule["Assertions"]
        if not value_of(assertion["Assert"], values)
    ]


def test_the_defaults_are_deployed() -> None:
    assert refusals(read_template()) == []


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize(
    "node_type", ["cache.r6g.large", "cache.m7g.16xlarge", "cache.c7gn.xlarge", "cache.r8g.2xlarge"]
)
def test_a_durable_cache_is_deployed_on_nodes_that_support_it(node_type: str, durability: str) -> None:
    assert refusals(read_template(), CacheNodeType=node_type, CacheDurability=durability) == []


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"CacheNodeType": "cache.t4g.small"}, "such as cache.m7g.large"),
        ({"CacheNodeType": "cache.r5.large"}, "such as cache.m7g.large"),
        ({"CacheNodeType": "cache.r6gd.xlarge"}, "such as cache.m7g.large"),
        ({"CacheKind": "serverless"}, "needs the CacheKind node"),
        ({"CacheMultiAz": "false"}, "needs CacheMultiAz"),
    ],
    ids=str,
)
def test_a_durable_cache_is_refused_where_aws_has_none(parameters: dict[str, str], sentence: str) -> None:
    refused = refusals(read_template(), **DURABLE | parameters)

    assert len(refused) == 1
    assert sentence in refused[0]


def test_the_other_rules_refuse_with_their_sentence() -> None:
    assert refusals(read_template(), BatchSize="11", BatchingWindow="0") == [
        "A BatchSize above 10 needs a BatchingWindow of at least 1 second."
    ]
    assert len(refusals(read_template(), VpcId="vpc-1")) == 4


def test_a_rule_that_forgets_the_node_type_is_noticed() -> None:
    template = copy.deepcopy(read_template())
    del template["Rules"]["DurabilityNeedsItsNodes"]["Assertions"][2]

    assert refusals(template, CacheDurability="sync", CacheNodeType="cache.t4g.small") == []
