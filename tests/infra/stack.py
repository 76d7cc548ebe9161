"""Load template.yaml as CloudFormation does: SAM's shorthand translated, parameters at their defaults."""

import copy
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]

type Properties = dict[str, Any]

# Where the translator wants an address in S3, and the source has a folder.
_CODE = ("CodeUri", "ContentUri")


def read_yaml(path: str) -> dict[str, Any]:
    """Return a template as it is written, with its short intrinsics in their long form; each call makes a copy."""
    return copy.deepcopy(_parsed(path))


@cache
def _parsed(path: str) -> dict[str, Any]:
    """Parse a template once: PyYAML takes half a second for the largest."""
    template: dict[str, Any] = yaml_parse((ROOT / path).read_text())
    return template


def read_template() -> dict[str, Any]:
    """Return template.yaml."""
    return read_yaml("template.yaml")


@cache
def _translated(template: str, parameters: str) -> dict[str, Any]:
    """Translate SAM's shorthand once for each template and its parameters, both as JSON."""
    # The translator asks boto3 for the partition, and boto3 the environment for a region.
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
    translated: dict[str, Any] = transform(json.loads(template), json.loads(parameters), None)
    return translated


@dataclass(frozen=True, slots=True)
class Stack:
    """Hold a template twice: as it is written (`source`) and as it deploys (`resources`)."""

    source: dict[str, Any]
    resources: dict[str, Any]

    @classmethod
    def of(cls, source: dict[str, Any], **parameters: str) -> "Stack":
        """Translate a template as these parameters deploy it, the rest at their defaults; the source stays as it is."""
        packaged = copy.deepcopy(source)
        for resource in packaged["Resources"].values():
            for name in _CODE:
                if name in resource.get("Properties", {}):
                    resource["Properties"][name] = "s3://bucket/key"
        translated = copy.deepcopy(_translated(json.dumps(packaged), json.dumps(parameters, sort_keys=True)))
        return cls(source, deployed(translated, **parameters))

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

    def behind(self, name: str) -> str:
        """Return the function that an alias stands for; a function stands for itself."""
        resource = self.resources.get(name, {})
        return target(resource["Properties"]["FunctionName"]) if resource.get("Type") == "AWS::Lambda::Alias" else name

    def statements(self) -> Iterator[tuple[str, Properties]]:
        """Yield the name of each role or policy with each of its statements."""
        for name, role in self.of_type("IAM::Role"):
            for policy in role.get("Policies", []):
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement
        for name, policy in self.of_type("IAM::ManagedPolicy"):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


NESTED = {name: f"infra/{name}.yaml" for name in ("network", "cache", "observability")}
"""The templates nested in template.yaml, there under the same name with a capital letter."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Hold the template, as `root`, and those nested in it, as they are written."""

    sources: dict[str, dict[str, Any]]

    @classmethod
    def read(cls) -> "Templates":
        """Read them all."""
        return cls({"root": read_template()} | {name: read_yaml(path) for name, path in NESTED.items()})

    def root(self, **parameters: str) -> Stack:
        """Return the root stack as these parameters deploy it."""
        return Stack.of(self.sources["root"], **parameters)

    def nested(self, name: str, **parameters: str) -> Stack:
        """Return a nested stack, such as `network`, as these parameters deploy it."""
        return Stack(self.sources[name], deployed(self.sources[name], **parameters))


def target(value: object) -> str:
    """Return the name of the resource that a `Ref` or a `Fn::GetAtt` points at, or an empty string."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            return name
    return ""


def listed(value: object) -> list[Any]:
    """Return a list, be it written as one or as its only item."""
    return value if isinstance(value, list) else [value]


def deployed(template: Mapping[str, Any], **parameters: str) -> dict[str, Any]:
    """Return the resources that these parameters deploy, the rest at their defaults, with what they decide resolved."""
    values = {name: body["Default"] for name, body in template["Parameters"].items() if "Default" in body} | parameters
    scope = _Scope(values, template.get("Conditions", {}))
    resources = template["Resources"].items()
    return {name: scope.resolve(body) for name, body in resources if scope.holds(body.get("Condition"))}


_NOTHING = {"Ref": "AWS::NoValue"}


@dataclass(frozen=True, slots=True)
class _Scope:
    """Hold what decides: the parameters' values, and the conditions over them."""

    values: Mapping[str, object]
    conditions: Mapping[str, Any]

    def holds(self, name: str | None) -> bool:
        """Tell whether a condition holds; what has none is there."""
        return name is None or self._holds(self.conditions[name])

    def _holds(self, condition: Any) -> bool:  # noqa: ANN401  # a template's
        match condition:
            case {"Condition": str(name)}:
                return self.holds(name)
            case {"Fn::Equals": [one, other]}:
                return str(self.resolve(one)) == str(self.resolve(other))
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::And": parts}:
                return all(self._holds(part) for part in parts)
            case {"Fn::Or": parts}:
                return any(self._holds(part) for part in parts)
        raise AssertionError(f"no condition: {condition}")

    def resolve(self, value: object) -> object:
        """Put in what the parameters decide, and take out what they leave out."""
        match value:
            case {"Ref": str(name)} if name in self.values:
                return self.values[name]
            case {"Fn::If": [str(name), one, other]}:
                return self.resolve(one if self.holds(name) else other)
            case {"Fn::Select": [int(place), {"Fn::Split": [str(separator), joined]}]}:
                return str(self.resolve(joined)).split(separator)[place]
            case dict():
                resolved = {key: self.resolve(item) for key, item in value.items()}
                return {key: item for key, item in resolved.items() if item != _NOTHING}
            case list():
                return [item for item in map(self.resolve, value) if item != _NOTHING]
        return value
