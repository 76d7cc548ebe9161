"""Read template.yaml as CloudFormation will: SAM's shorthand translated, parameters at their defaults."""

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]

type Properties = dict[str, Any]

# Where the translator wants an address in S3, and the source has a folder.
_CODE = ("CodeUri", "ContentUri")


def read_template() -> dict[str, Any]:
    """Return template.yaml as it is written, with its short intrinsics in their long form."""
    template: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return template


@dataclass(frozen=True, slots=True)
class Stack:
    """Hold a template twice: as it is written (`source`) and as it deploys (`resources`)."""

    source: dict[str, Any]
    resources: dict[str, Any]

    @classmethod
    def of(cls, source: dict[str, Any]) -> "Stack":
        """Translate a template; the source stays as it is."""
        # The translator asks boto3 for the partition, and boto3 the environment for a region.
        os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
        packaged = copy.deepcopy(source)
        for resource in packaged["Resources"].values():
            for name in _CODE:
                if name in resource.get("Properties", {}):
                    resource["Properties"][name] = "s3://bucket/key"
        translated = transform(packaged, {}, None)
        defaults = {name: body["Default"] for name, body in source["Parameters"].items() if "Default" in body}
        return cls(source, {name: _resolve(body, defaults) for name, body in translated["Resources"].items()})

    def of_type(self, kind: str) -> Iterator[tuple[str, Properties]]:
        """Yield the name and the properties of each resource of a type, such as `SQS::Queue`."""
        for name, resource in self.resources.items():
            if resource["Type"] == f"AWS::{kind}":
                yield name, resource.get("Properties", {})

    def properties(self, name: str) -> Properties:
        """Return the properties of one resource."""
        properties: Properties = self.resources[name]["Properties"]
        return properties

    def variables(self, function: str) -> dict[str, Any]:
        """Return a function's environment."""
        variables: dict[str, Any] = self.properties(function).get("Environment", {}).get("Variables", {})
        return variables

    def statements(self) -> Iterator[tuple[str, Properties]]:
        """Yield the name of each role or policy with each of its statements."""
        for name, role in self.of_type("IAM::Role"):
            for policy in role.get("Policies", []):
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement
        for name, policy in self.of_type("IAM::ManagedPolicy"):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def target(value: object) -> str:
    """Return the name of the resource that a `Ref` or a `Fn::GetAtt` points at, or an empty string."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            return name
    return ""


def listed(value: object) -> list[Any]:
    """Return a list, be it written as one or as its only item."""
    return value if isinstance(value, list) else [value]


def _resolve(value: object, defaults: Mapping[str, object]) -> object:
    if isinstance(value, dict):
        if value.keys() == {"Ref"} and value["Ref"] in defaults:
            return defaults[value["Ref"]]
        return {key: _resolve(item, defaults) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, defaults) for item in value]
    return value
