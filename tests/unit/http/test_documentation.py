"""Test that docs/api.md names every code and every field."""

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from common.api.serializers import SENTENCES
from common.domain.task import TaskStatus, WaitingOn
from common.kinds.chat.validation import RESERVED_PARAMS
from functions.submit.schema import CallBody, PromptBody, RequestBody
from tests.local import pages
from tools.openapi.document import document

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
BEHIND_THE_API = (
    "common/api",
    "common/kinds",
    "common/submission",
    "functions/submit",
    "functions/status",
    "functions/cancel",
)
SOURCES = [path for folder in BEHIND_THE_API for path in (ROOT / folder).rglob("*.py")]
CODES = {
    code
    for path in SOURCES
    for code in re.findall(r"code ?= ?\"([a-z0-9_]+)\"|Problem\(\d+, \"([a-z_]+)\"", path.read_text(encoding="utf-8"))
    for code in code
    if code
}


def test_the_codes_are_found_in_the_sources() -> None:
    assert {"not_found", "internal_error", "reserved_param", "no_task_ids", "idempotency_key_reused"} <= CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_of_an_error_is_described(code: str) -> None:
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            *RESERVED_PARAMS,
            *(name for body in (CallBody, PromptBody, RequestBody) for name in body.__struct_fields__),
            *TaskStatus,
            *WaitingOn,
        }
    ),
)
def test_every_name_is_described(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_reason_of_a_failed_task_is_described_in_the_words_of_the_answer() -> None:
    for code, sentence in SENTENCES.items():
        assert f"| `{code}` | {sentence} |" in PAGE


EXAMPLES = [example for page in (pages.API, pages.README) for example in pages.examples(page)]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_has_the_form_of_a_body_that_the_description_has(example: dict[str, Any]) -> None:
    # Params may be anything, and so may say nothing.
    names = document()["components"]["schemas"].keys() - {"KnownParams"}

    assert [name for name in names if fits(example, name)]


def test_an_example_with_a_field_that_is_not_described_has_no_form() -> None:
    task = EXAMPLES[-1]

    assert fits(task, "Task")
    assert not fits({**task, "answer": "An answer"}, "Task")
    assert not fits({**task, "progress": 101}, "Task")


def fits(example: object, name: str) -> bool:
    schema = {**document(), "$ref": f"#/components/schemas/{name}"}
    return Draft202012Validator(schema).is_valid(example)
