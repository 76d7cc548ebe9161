"""Test the detection of breaking API changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.openapi.compatibility import breaks
from tools.openapi.document import document, written
from tools.openapi.release import ReleaseProblem, judge, keep, last_release

type Document = dict[str, Any]


def schemas(description: Document) -> Document:
    found: Document = description["components"]["schemas"]
    return found


def parameter(description: Document, path: str, name: str) -> Document:
    found: Document = next(each for each in description["paths"][path]["get"]["parameters"] if each["name"] == name)
    return found


def without(description: Document, path: str, name: str) -> None:
    parameters = description["paths"][path]["get"]["parameters"]
    parameters.remove(parameter(description, path, name))


BREAKS: list[tuple[str, Callable[[Document], object]]] = [
    ("GET /tasks/{task_id} is gone", lambda d: d["paths"].pop("/tasks/{task_id}")),
    ("POST /tasks is gone", lambda d: d["paths"]["/tasks"].pop("post")),
    ("POST /tasks has another operationId", lambda d: d["paths"]["/tasks"]["post"].update(operationId="send")),
    ("asks for another authorization", lambda d: d["paths"]["/tasks"]["post"].update(security=[{"other": []}])),
    ("GET /tasks has no parameter fields", lambda d: without(d, "/tasks", "fields")),
    ("requires the parameter fields", lambda d: parameter(d, "/tasks", "fields").update(required=True)),
    ("fields[] is never cost", lambda d: parameter(d, "/tasks", "fields")["schema"]["items"]["enum"].remove("cost")),
    (
        "limit: maximum was 1000 and is 50",
        lambda d: parameter(d, "/batches/{batch_id}", "limit")["schema"].update(maximum=50),
    ),
    (
        "cursor: minimum was 0 and is 1",
        lambda d: parameter(d, "/batches/{batch_id}", "cursor")["schema"].update(minimum=1),
    ),
    ("Prefer: pattern was", lambda d: parameter(d, "/tasks", "Prefer")["schema"].update(pattern="^wait=1$")),
    ("explode was", lambda d: parameter(d, "/tasks", "fields").update(explode=True)),
    ("body has no field metadata", lambda d: schemas(d)["CallBody"]["properties"].pop("metadata")),
    ("body requires the field prompts", lambda d: schemas(d)["CallBody"].update(required=["prompts"])),
    (
        "body.deadline_seconds",
        lambda d: schemas(d)["CallBody"]["properties"].update(deadline_seconds={"type": "string"}),
    ),
    (
        "POST /tasks, body is no application/json",
        lambda d: d["paths"]["/tasks"]["post"]["requestBody"].update(content={}),
    ),
    ("POST /tasks never answers 409", lambda d: d["paths"]["/tasks"]["post"]["responses"].pop("409")),
    (
        "202 has no header Location",
        lambda d: d["paths"]["/tasks"]["post"]["responses"]["202"]["headers"].pop("Location"),
    ),
    (
        "200 is no text/event-stream",
        lambda d: d["paths"]["/tasks/{task_id}/stream"]["get"]["responses"]["200"].pop("content"),
    ),
    ("200 has no field result", lambda d: schemas(d)["Task"]["properties"].pop("result")),
    ("tasks[] has no field result", lambda d: schemas(d)["Task"]["properties"].pop("result")),
    ("200 may lack the field status", lambda d: schemas(d)["Task"]["required"].remove("status")),
    (
        "progress: the type was integer",
        lambda d: schemas(d)["Task"]["properties"]["progress"].update(type=["integer", "null"]),
    ),
    ("progress: maximum was 100", lambda d: schemas(d)["Task"]["properties"]["progress"].update(maximum=200)),
    ("status is never expired", lambda d: schemas(d)["Task"]["properties"]["status"]["enum"].remove("expired")),
    (
        "error.code is never timeout",
        lambda d: schemas(d)["Task"]["properties"]["error"]["properties"]["code"]["enum"].remove("timeout"),
    ),
    ("status may be any value", lambda d: schemas(d)["Task"]["properties"].update(status={"type": "string"})),
    ("has no field code", lambda d: schemas(d)["Problem"]["properties"].pop("code")),
    (
        "is a new kind",
        lambda d: schemas(d)["Task"]["properties"].update(result={"anyOf": [{"type": "string"}, {"type": "array"}]}),
    ),
]

ADDITIONS: list[Callable[[Document], object]] = [
    lambda d: d["paths"].update({"/new": {"get": {"operationId": "new", "responses": {}}}}),
    lambda d: d["paths"]["/tasks"].update(delete={"operationId": "drop", "responses": {}}),
    lambda d: d["paths"]["/tasks"]["get"]["parameters"].append(
        {"in": "query", "name": "new", "schema": {"type": "string"}}
    ),
    lambda d: d["paths"]["/tasks"]["get"]["responses"].update({"418": {"description": "x"}}),
    lambda d: d["paths"]["/tasks"]["post"]["responses"]["202"]["headers"].update(
        {"X-New": {"schema": {"type": "string"}}}
    ),
    lambda d: d["paths"]["/tasks"]["post"].update(summary="Other words"),
    lambda d: parameter(d, "/tasks", "fields")["schema"]["items"]["enum"].append("new"),
    lambda d: parameter(d, "/batches/{batch_id}", "limit")["schema"].update(maximum=5000),
    lambda d: parameter(d, "/tasks", "Prefer")["schema"].pop("pattern"),
    lambda d: schemas(d)["CallBody"]["properties"].update(new={"type": "string"}),
    lambda d: schemas(d)["PromptBody"]["properties"].update(new={"type": "string"}),
    lambda d: schemas(d)["CallBody"]["properties"].update(model={}),
    lambda d: schemas(d)["Task"]["properties"].update(new={"type": "string"}),
    lambda d: schemas(d)["Task"]["required"].append("progress"),
    lambda d: schemas(d)["Task"]["properties"]["progress"].update(maximum=99),
    lambda d: schemas(d)["Task"]["properties"]["status"]["enum"].append("paused"),
]


def changed(change: Callable[[Document], object]) -> Document:
    # Through JSON: schemas are shared in the code, and a change of one is to be a change of one.
    description: Document = json.loads(json.dumps(document()))
    change(description)
    return description


def test_nothing_breaks_itself() -> None:
    assert breaks(document(), changed(lambda _: None)) == []


@pytest.mark.parametrize(("sentence", "change"), BREAKS, ids=[sentence for sentence, _ in BREAKS])
def test_what_breaks_a_caller_is_found(sentence: str, change: Callable[[Document], object]) -> None:
    found = breaks(changed(lambda _: None), changed(change))

    assert [line for line in found if sentence in line], found


@pytest.mark.parametrize("change", ADDITIONS, ids=range(len(ADDITIONS)))
def test_what_is_added_or_loosened_breaks_nobody(change: Callable[[Document], object]) -> None:
    assert changed(change) != document()
    assert breaks(changed(lambda _: None), changed(change)) == []


def version(number: str, change: Callable[[Document], object] = lambda _: None) -> Document:
    return changed(lambda d: (d["info"].update(version=number), change(d)))


def test_without_a_release_the_check_says_so(tmp_path: Path) -> None:
    may_go_out, [line] = judge(document(), tmp_path)

    assert may_go_out
    assert line.startswith("There is no release to compare the API with")


@pytest.mark.parametrize(
    ("released", "now", "may"),
    [
        *(("0.1.0", "0.1.0", False), ("0.1.0", "0.1.9", False), ("0.1.0", "0.2.0", True), ("0.9.0", "1.0.0", True)),
        *(("1.1.0", "1.2.0", False), ("1.9.0", "2.0.0", True)),
    ],
)
def test_a_break_goes_out_with_the_version_that_announces_it(
    tmp_path: Path, released: str, now: str, *, may: bool
) -> None:
    keep(version(released), json.dumps(version(released)), tmp_path)

    may_go_out, lines = judge(version(now, lambda d: d["paths"].pop("/tasks")), tmp_path)

    assert may_go_out is may
    assert [line.strip() for line in lines[1:3]] == ["POST /tasks is gone", "GET /tasks is gone"]
    assert judge(version(now), tmp_path) == (True, [f"The API breaks nothing of {released}"])


def test_the_highest_version_is_the_last_release_and_a_release_never_changes(tmp_path: Path) -> None:
    for number in ("0.9.0", "0.10.0", "0.2.0"):
        keep(version(number), written(), tmp_path)
    (tmp_path / "notes.md").write_text("no release")

    last = last_release(tmp_path)
    assert last is not None
    assert last.name == "openapi-0.10.0.json"
    keep(version("0.2.0"), written(), tmp_path)
    with pytest.raises(ReleaseProblem, match="raise the version first"):
        keep(version("0.2.0"), "other", tmp_path)


def test_the_description_breaks_nothing_of_the_last_release() -> None:
    may_go_out, lines = judge(document())

    assert may_go_out, lines
