"""Test that the header of a task has every field, and survives encoding and decoding."""

import json
from dataclasses import fields, replace

import pytest

from common.domain import task_header
from common.domain.request import Kind
from common.domain.task import Task, TaskRef, new_batch_id
from common.webhooks.model import Webhook

BATCH_ID = new_batch_id(1_700_000_000_000, bytes(16))
WEBHOOK = Webhook("https://example.com/hook")
TASK = Task(
    ref=TaskRef("acme", BATCH_ID, 3),
    batch_size=5,
    created_ms=1_000,
    deadline_ms=2_000,
    retention_ms=3_000,
    model="story",
    custom_id="row-3",
    webhook=WEBHOOK,
    kind=Kind.WORKFLOW,
)
OPTIONAL = {"custom_id", "webhook"}


def test_a_header_comes_back_equal_from_json() -> None:
    assert task_header.decode(json.loads(json.dumps(task_header.encode(TASK)))) == TASK


def test_a_header_names_every_field_of_the_task() -> None:
    names = {field.name for field in fields(Task)} - {"ref"} | {field.name for field in fields(TaskRef)}

    assert set(task_header.encode(TASK)) == names


def test_an_optional_field_that_is_absent_is_omitted() -> None:
    task = replace(TASK, custom_id=None, webhook=None)

    header = task_header.encode(task)

    assert None not in header.values()
    assert set(task_header.encode(TASK)) - set(header) == OPTIONAL
    assert task_header.decode(header) == task


@pytest.mark.parametrize("name", sorted(set(task_header.encode(TASK)) - OPTIONAL))
def test_a_header_without_a_required_field_is_refused(name: str) -> None:
    header = task_header.encode(TASK)
    del header[name]

    with pytest.raises(KeyError):
        task_header.decode(header)


@pytest.mark.parametrize("change", [{"index": 10_000}, {"index": -1}, {"batch_id": "../etc"}], ids=str)
def test_a_header_that_names_no_task_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no task"):
        task_header.decode(task_header.encode(TASK) | change)
