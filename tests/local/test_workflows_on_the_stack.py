"""Test workflows through the gateway, and docs/workflows.md as written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.workflow.workflow import Workflow
from local.settings import ROOT
from sluice import Sluice
from tests.local import pages
from tests.local.calls import ENDED, look_up, problem
from tests.local_stack import Up, eventually

pytestmark = pytest.mark.timeout(300)

PAGE = ROOT / "docs" / "workflows.md"
SHOWN_ADDRESS = "http://127.0.0.1:8000"
WAIT = {"Prefer": "wait=20"}
INPUTS: dict[str, dict[str, Any]] = {
    "story": {"topic": "a magical forest"},
    "summarize_articles": {"articles": ["About trees.", "About the sea.", "About money."]},
    "translate_and_review": {"text": "Good morning.", "language": "German"},
}


def start(api: httpx.Client, workflow: str, **given: object) -> dict[str, Any]:
    answer = api.post(f"/workflows/{workflow}", json={"inputs": [given]})
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


@pytest.mark.parametrize("workflow", INPUTS)
def test_a_workflow_is_asked_for_waited_for_and_answered_like_a_prompt(api: httpx.Client, workflow: str) -> None:
    accepted = start(api, workflow, **INPUTS[workflow])
    [task] = eventually(
        lambda: look_up(api, accepted["task_ids"]), until=lambda tasks: tasks[0]["status"] in ENDED, seconds=120
    )

    assert (task["status"], task["model"]) == ("completed", f"workflow/{workflow}")
    assert task["result"]
    assert task["usage"]["completion_tokens"] > 0
    batch = api.get(f"/batches/{accepted['batch_id']}").json()
    assert batch["counts"]["completed"] == 1
    assert batch["usage"] == task["usage"]


def test_a_running_workflow_is_taken_back(api: httpx.Client) -> None:
    accepted = start(api, "story", topic="[[tokens:900]] [[delay:0.1]] a slow one")
    [task_id] = accepted["task_ids"]
    eventually(lambda: look_up(api, [task_id])[0], until=lambda task: "partial_result" in task, seconds=120)

    assert api.post(f"/tasks/{task_id}/cancel").json()["status"] == "cancelled"
    assert look_up(api, [task_id])[0]["status"] == "cancelled"


def test_a_bad_input_is_named_and_an_unknown_workflow_is_not_found(api: httpx.Client) -> None:
    bad = api.post("/workflows/story", json={"inputs": [{"topic": "trees"}, {"topic": 7}]})
    assert problem(bad) == (400, "invalid_value")
    assert [error["pointer"] for error in bad.json()["errors"]] == ["/inputs/1/topic"]
    assert problem(api.post("/workflows/novel", json={"inputs": [{}]})) == (404, "unknown_workflow")


def test_the_client_lists_and_starts_them(stack: Up) -> None:
    with Sluice(stack.url, "local") as sluice:
        assert {workflow.name for workflow in sluice.workflows()} == set(INPUTS)
        outcomes = list(sluice.map([{"topic": "trees"}, {"topic": "dogs"}], workflow="story"))

    assert [outcome.task.status for outcome in outcomes] == ["completed", "completed"]


def test_the_command_runs_a_file_of_inputs(stack: Up, tmp_path: Path) -> None:
    inputs, output = tmp_path / "inputs.jsonl", tmp_path / "out.jsonl"
    inputs.write_text('{"topic": "trees", "custom_id": "a"}\n{"topic": "dogs", "custom_id": "b"}\n', encoding="utf-8")
    environment = os.environ | {"SLUICE_URL": stack.url, "SLUICE_API_KEY": "local"}
    command = [str(Path(sys.executable).with_name("sluice")), "run", str(inputs), "-o", str(output), "-w", "story"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [(line["custom_id"], line["status"]) for line in lines] == [("a", "completed"), ("b", "completed")]


def test_the_page_s_calls_are_answered_as_it_says(stack: Up) -> None:
    script = pages.commands(PAGE)["api"].replace(SHOWN_ADDRESS, stack.url)
    done = subprocess.run(["sh", "-eu", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    decoder = json.JSONDecoder()
    listed, end = decoder.raw_decode(done.stdout)
    answered, _ = decoder.raw_decode(done.stdout, end)
    assert {entry["name"] for entry in listed["workflows"]} == set(INPUTS)
    assert answered["tasks"][0]["status"] in {"completed", "processing", "queued"}


def test_the_chain_that_the_page_shows_is_one() -> None:
    chains = (ROOT / "functions/workflow/chains.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(chains.replace("WORKFLOWS: Final", "_ALL"), names)  # noqa: S102  # the page's code belongs into this module
    _, shown = [block.text for block in pages.blocks(PAGE) if block.kind == "python"]
    exec(shown, names)  # noqa: S102  # our own page

    workflow = Workflow("shop_name", names["Shop"], names["shop_name"])

    assert workflow.description == "Name a shop by what it sells."
    assert workflow.input.model_validate({"goods": "hats"}).model_dump() == {"goods": "hats"}
