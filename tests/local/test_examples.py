"""Test docs/api.md: its commands return what it says, and its requests are accepted."""

import json
import subprocess
from typing import Any

import httpx
import pytest

from local.settings import ROOT
from tests.local import pages
from tests.local_stack import Up

pytestmark = pytest.mark.timeout(300)

SHOWN_ADDRESS = "http://127.0.0.1:8000"
BETWEEN = "\n=== the next block ===\n"
COMMANDS = [block for block in pages.blocks(pages.API) if block.kind == "sh"]
REQUESTS = [example for example in pages.examples(pages.API) if {"prompts", "template"} & example.keys()]


@pytest.fixture(scope="module")
def printed(stack: Up) -> list[str]:
    """Paste all of the page's commands into one shell, with this stack's address, and give what each block printed."""
    script = f"printf %s '{BETWEEN}'\n".join(block.text for block in COMMANDS)
    assert SHOWN_ADDRESS in script
    done = subprocess.run(
        ["sh", "-eu", "-c", script.replace(SHOWN_ADDRESS, stack.url)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split(BETWEEN)


def documents(text: str) -> list[Any]:
    """Return the JSON documents that curl has printed, one after the other; an event's is behind its `data:`."""
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        document, end = decoder.raw_decode(text, at)
        found.append(document)
        at = text.find("{", end)
    return found


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_each_command_is_answered_as_the_page_says(printed: list[str], number: int) -> None:
    assert len(printed) == len(COMMANDS)

    answers = documents(printed[number])

    assert answers
    problems = [answer for answer in answers if answer.get("type") == "about:blank"]
    assert {problem["code"] for problem in problems} == COMMANDS[number].refused, problems


def test_an_unchanged_answer_prints_304_alone_and_the_followed_one_comes_to_its_end(printed: list[str]) -> None:
    assert any(text.endswith("}304") for text in printed)
    assert [text.count("event: ended") for text in printed if "event: " in text] == [1]


@pytest.mark.parametrize("body", REQUESTS, ids=range(len(REQUESTS)))
def test_each_request_that_is_shown_is_accepted(api: httpx.Client, body: dict[str, Any]) -> None:
    answer = api.post("/tasks", json=body)

    assert answer.status_code == 202, answer.text
    assert api.post(f"/batches/{answer.json()['batch_id']}/cancel").status_code == 200


def test_all_that_is_shown_for_a_shell_is_run() -> None:
    assert {block.mark for block in COMMANDS} == {"api"}
    assert not [block for block in pages.blocks(pages.API) if not block.kind]
