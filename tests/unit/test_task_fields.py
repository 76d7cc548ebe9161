"""Test that each place carries every field of a task's spec: a field that is forgotten in one of them fails here.

The store's contract does the same for the record, tests/client for the client, and the OpenAPI writer for the API.
"""

from dataclasses import fields
from pathlib import Path
from typing import Final

from common.api.serializers import TASK_FIELDS, show_task
from common.domain import task_header
from common.domain.task import NewBatch, TaskRecord, TaskRef, TaskSpec, TaskStatus, new_batch_id
from functions.submit.parsing import parse_call
from functions.submit.schema import PromptBody
from tests.task_specs import FULL_SPEC
from tests.unit.submit.calls import LIMITS

DOCUMENTATION: Final = Path(__file__).parents[2] / "docs/api.md"
NAMES: Final = {each.name for each in fields(TaskSpec)}
BATCH_ID: Final = new_batch_id(1_700_000_000_000, bytes(16))


def test_the_sample_sets_every_field() -> None:
    assert all(value is not None for value in FULL_SPEC.spec_fields().values())


def test_a_caller_can_set_every_field_of_a_prompt() -> None:
    assert set(PromptBody.__struct_fields__) >= NAMES
    prompt = {"prompt": "A joke about plants", **FULL_SPEC.spec_fields()}

    [parsed] = parse_call({"prompts": [prompt]}, LIMITS).prompts

    assert parsed.spec_fields() == FULL_SPEC.spec_fields()


def test_a_new_batch_carries_every_field_to_the_store() -> None:
    batch = NewBatch("acme", BATCH_ID, (FULL_SPEC,), 1_000, 2_000)

    _, [header] = task_header.encode_new(batch)

    assert header == FULL_SPEC.spec_fields()


def test_the_api_shows_and_documents_every_field() -> None:
    record = TaskRecord(
        ref=TaskRef("acme", BATCH_ID, 0),
        status=TaskStatus.QUEUED,
        progress=0,
        attempts=(),
        created_ms=1,
        deadline_ms=2,
        expires_ms=3,
        **FULL_SPEC.spec_fields(),
    )

    shown = show_task(record)

    assert {name: shown.get(name) for name in NAMES} == FULL_SPEC.spec_fields()
    documentation = DOCUMENTATION.read_text(encoding="utf-8")
    assert [name for name in sorted(TASK_FIELDS) if f"`{name}`" not in documentation] == []
