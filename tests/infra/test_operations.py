"""Test that every command of the documents exists, and that the check detects commands that do not."""

import re

import pytest

from benchmarks.bill import DOLLARS, LAMBDAS_LOG_BYTES, Taken, always, lines
from benchmarks.cost import DEFAULT, makespan
from tests.infra.commands import commands_in, complaints
from tests.infra.stack import ROOT, Templates, read_template, read_yaml

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def test_every_command_exists_with_its_options() -> None:
    found = list(commands_in(GUIDE))

    assert len(found) > 40
    assert [complaint for words in found for complaint in complaints(words)] == []


def test_so_does_every_command_by_which_the_readme_deploys() -> None:
    section = (ROOT / "README.md").read_text().split("## Deploy it")[1].split("\n## ")[0]
    found = list(commands_in(section))

    assert ["make", "deploy"] in found
    assert [complaint for words in found for complaint in complaints(words)] == []


def test_so_does_every_command_of_the_contributing_page() -> None:
    # Those of `sam local` are run by tests/sam, where there is a Docker engine.
    found = list(commands_in((ROOT / "CONTRIBUTING.md").read_text()))

    assert ["make", "bench"] in found
    assert [".venv-sam/bin/sam", "local", "start-api"] in found
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


def test_what_it_says_to_set_of_a_nested_stack_can_be_set_in_the_template() -> None:
    sources = Templates.read().sources
    settable = sources.pop("root")["Parameters"].keys()
    nested = {name for source in sources.values() for name in source["Parameters"]}
    named = set(re.findall(r"`([A-Z]\w+)", GUIDE))

    assert "ServerlessGigabytes" in named
    assert named & nested <= settable


def test_what_it_says_to_enter_at_github_is_what_the_bootstrap_gives_and_the_workflows_read() -> None:
    workflows = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    read = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", workflows))
    outputs = read_yaml("infra/github-oidc.yaml")["Outputs"]
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


def cost_table(head: str) -> list[list[str]]:
    """Return the cells of a table of what it costs, without head and sum."""
    section = GUIDE.split("## What it costs")[1].split(head)[1].split("\n\n")[1]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in section.splitlines()[2:-1]]


def numbers(text: str) -> list[str]:
    return [found.replace(",", "") for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


def is_rounded(written: str, exact: float) -> bool:
    digits = len(written.partition(".")[2])
    return abs(float(written) - exact) <= float(f"0.5e-{digits}") + 1e-9


@pytest.mark.parametrize(
    ("item", "names"),
    [
        ("cache", ["cache_node_hour"]),
        ("NAT gateways", ["nat_hour", "address_hour"]),
        ("endpoint", ["endpoint_hour"]),
        ("secrets", ["secret_month"]),
        ("alarms", ["alarm_metric_month"]),
        ("polling", ["sqs_million_requests"]),
        ("worker", ["lambda_gb_second_arm"]),
        ("NAT, data", ["nat_gb"]),
        ("log", ["logs_gb"]),
        ("SQS", ["sqs_million_fair_requests"]),
        ("API Gateway", ["rest_api_million_calls"]),
        ("submit and status", ["lambda_gb_second_arm"]),
        ("Lambda's requests", ["lambda_million_requests"]),
        ("X-Ray", ["xray_million_traces"]),
    ],
)
def test_its_prices_are_those_that_the_benchmarks_reckon_with(item: str, names: list[str]) -> None:
    rows = [*cost_table("**Idle, a month.**"), *cost_table("**A million prompts.**")]
    [row] = [row for row in rows if row[0].startswith(item)]

    priced = row[0] if len(row) == 4 else row[1]
    assert [float(price) for price in re.findall(r"\$([\d.]*\d)", priced)] == [DOLLARS[name] for name in names]


@pytest.mark.parametrize(("column", "nodes", "gateways"), [(1, 1, 1), (2, 2, 2)])
def test_what_it_says_of_an_idle_month_is_what_the_benchmarks_add_up(column: int, nodes: int, gateways: int) -> None:
    written = [numbers(row[column])[0] for row in cost_table("**Idle, a month.**")]
    exact = always(nodes, gateways)

    assert all(map(is_rounded, written, exact.values())), exact
    assert len(written) == len(exact)
    total = GUIDE.split("**Idle, a month.**")[1].split("| **sum** |")[1].splitlines()[0].split("|")[column - 1]
    assert is_rounded(numbers(total)[0], sum(exact.values()))


def test_what_it_says_of_a_million_prompts_is_the_bill_of_the_benchmarks() -> None:
    rows = cost_table("**A million prompts.**")
    memory, seconds = numbers(rows[0][0])
    task, invocation = (float(each) for each in numbers(rows[2][0]))
    exact = lines(DEFAULT, 5, float(seconds), Taken((invocation - LAMBDAS_LOG_BYTES, task), {100: 0.3}))

    assert int(memory) == DEFAULT.memory
    assert 0 < float(seconds) - 5 * makespan(DEFAULT.batch, DEFAULT.concurrency) < 1
    assert [row[0].partition(":")[0].split(", ")[0] for row in rows] == [name.split(", ")[0] for name in exact]
    assert all(is_rounded(row[2], dollars) for row, dollars in zip(rows, exact.values(), strict=True)), exact


def test_each_of_its_lines_for_a_million_prompts_is_so_many_times_its_price() -> None:
    for _, quantity, dollars in cost_table("**A million prompts.**"):
        [(many, price, million)] = re.findall(r"([\d,.]+)(?: [\w-]+)? at \$([\d.]*\d)( a million)?", quantity)
        exact = float(many.replace(",", "")) * float(price) / (1_000_000 if million else 1)
        assert is_rounded(dollars, exact), quantity
