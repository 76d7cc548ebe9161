"""docs/api.md names every code and every field there is."""

import re
from pathlib import Path

import pytest

from common.tasks import TaskStatus, WaitingOn
from common.views import SENTENCES
from functions.submit.schema import RESERVED_PARAMS, CallBody, PromptBody

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
BEHIND_THE_API = ("submit", "status", "cancel")
SOURCES = [
    ROOT / "common/http.py",
    *(path for name in BEHIND_THE_API for path in (ROOT / "functions" / name).glob("*.py")),
]
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
    sorted({*RESERVED_PARAMS, *CallBody.__struct_fields__, *PromptBody.__struct_fields__, *TaskStatus, *WaitingOn}),
)
def test_every_name_is_described(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_reason_of_a_failed_task_is_described_in_the_words_of_the_answer() -> None:
    for code, sentence in SENTENCES.items():
        assert f"| `{code}` | {sentence} |" in PAGE
