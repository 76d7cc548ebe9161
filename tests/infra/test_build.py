"""Test the template that `make build` writes."""

from pathlib import Path

import pytest
import yaml

from local.build import stamp
from tests.infra.stack import Stack, read_template


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_a_build_deploys_for_the_processor_that_it_was_built_for(tmp_path: Path, architecture: str) -> None:
    # GIVEN the template as `sam build` writes it, with its intrinsics in their long form
    template = tmp_path / "template.yaml"
    template.write_text(yaml.safe_dump(read_template(), sort_keys=False))

    # WHEN it is stamped
    stamp(template, "f" * 64, architecture)

    # THEN no parameter can ask for another, and every version is this build's
    for parameter in ("arm64", "x86_64"):
        stack = Stack.of(yaml.safe_load(template.read_text()), Architecture=parameter)
        assert {tuple(each["Architectures"]) for _, each in stack.of_type("Lambda::Function")} == {(architecture,)}
        versions = {each["Description"] for _, each in stack.of_type("Lambda::Version")}
        assert versions == {"b-" + "f" * 16}
