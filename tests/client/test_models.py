import json
from dataclasses import fields
from pathlib import Path

import pytest

from sluice import Batch, Task

DESCRIPTION = json.loads(Path("functions/docs/openapi.json").read_text(encoding="utf-8"))

OURS = {"raw", "cost_usd"}
"""Fields of the client alone: the whole JSON, and the number in `cost`."""


@pytest.mark.parametrize(("model", "elsewhere"), [(Task, {"cost"}), (Batch, {"cost", "next"})])
def test_a_model_has_every_field_of_the_api_description(model: type[Task | Batch], elsewhere: set[str]) -> None:
    described = set(DESCRIPTION["components"]["schemas"][model.__name__]["properties"])

    assert {each.name for each in fields(model)} - OURS == described - elsewhere


def test_a_poll_asks_for_every_field_that_the_model_reads() -> None:
    described = set(DESCRIPTION["components"]["schemas"]["Task"]["properties"])

    assert Task.api_fields() == described


def test_a_retried_task_names_its_successor() -> None:
    assert Task.of({"task_id": "a-0", "status": "failed", "retried_as": "b-0"}).retried_as == "b-0"
