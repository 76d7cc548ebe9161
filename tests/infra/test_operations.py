"""Every command of the operations guide is real, and what looks for those that are not is awake."""

import re

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.infra.commands import commands_in, complaints
from tests.infra.stack import ROOT, read_template

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def test_every_command_exists_with_its_options() -> None:
    found = list(commands_in(GUIDE))

    assert len(found) > 40
    assert [complaint for words in found for complaint in complaints(words)] == []


@pytest.mark.parametrize(
    ("line", "culprit"),
    [
        ("make undeploy", "no target undeploy"),
        ("make key TENNANT=acme", "nothing reads TENNANT"),
        ("aws sqss list-queues", "no service sqss"),
        ("aws sqs drain-queue", "no operation drain-queue"),
        ("aws sqs get-queue-url --queue q", "no option --queue"),
        ("aws sqs get-queue-url", "needs --queue-name"),
        ("Q=$(aws sqs get-queue-url --name q)", "no option --name"),
        ("aws lambda update-event-source-mapping --uuid 1 --disabled", "no option --disabled"),
        (".venv-sam/bin/sam undeploy", "no subcommand undeploy"),
        (".venv-sam/bin/sam delete --stack sluice", "no option --stack"),
        (".venv/bin/python -m tools.smokes", "no module tools.smokes"),
        (".venv/bin/python -m tools.smoke --address x", "no option --address"),
        ("kubectl get pods", "nobody knows this program"),
        ("git push", "git push is not"),
    ],
)
def test_a_command_that_is_not_real_is_noticed(line: str, culprit: str) -> None:
    found = [each for words in commands_in(f"```sh\n{line}\n```\n") for each in complaints(words)]

    assert any(culprit in complaint for complaint in found), found


def test_its_settings_are_parameters_of_the_template() -> None:
    table = GUIDE.split("| to | set in samconfig.toml |")[1].split("\n\n")[0]
    names = set(re.findall(r"`([A-Z]\w+)", table))

    assert names
    assert names <= read_template()["Parameters"].keys()


def test_what_it_says_to_enter_at_github_is_what_the_bootstrap_gives_and_the_workflows_read() -> None:
    workflows = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    read = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", workflows))
    outputs = yaml_parse((ROOT / "infra/github-oidc.yaml").read_text())["Outputs"]
    given = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper() for name in outputs}

    section = GUIDE.split("## Deploy from GitHub")[1]
    assert read == set(re.findall(r"`([A-Z_]{4,})(?:=true)?`", section))
    assert {"DEPLOY_ROLE_ARN", "EXECUTION_ROLE_ARN", "ARTEFACT_BUCKET"} <= given


def test_links_within_it_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in GUIDE.splitlines()
        if line.startswith("#")
    }

    assert set(re.findall(r"\]\(#([\w-]+)\)", GUIDE)) <= headings
