"""Test the parsing of query parameters."""

from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from common.api.serializers import TASK_FIELDS
from common.domain.errors import InvalidRequest
from common.domain.task import TaskStatus
from functions.status.query import LONGEST_ID, MOST_IDS, Page, Query, fields, page, task_ids


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["a"], ["a"]),
        (["a,b,c"], ["a", "b", "c"]),
        (["a,b", "c"], ["a", "b", "c"]),
        (["b,a,b"], ["b", "a", "b"]),
        (["a%2Cb%20"], ["a", "b"]),
        ([" a , b ,,"], ["a", "b"]),
        ([",".join(["a"] * MOST_IDS)], ["a"] * MOST_IDS),
    ],
)
def test_ids_come_in_their_order(values: list[str], ids: list[str]) -> None:
    assert task_ids({"task_ids": values}) == ids


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "no_task_ids"),
        ({"task_ids": []}, "no_task_ids"),
        ({"task_ids": [""]}, "no_task_ids"),
        ({"task_ids": [" , ,"]}, "no_task_ids"),
        ({"ids": ["a"]}, "no_task_ids"),
        ({"task_ids": [",".join(["a"] * (MOST_IDS + 1))]}, "too_many_task_ids"),
        ({"task_ids": ["a" * (LONGEST_ID + 1)]}, "task_id_too_long"),
    ],
)
def test_a_question_out_of_bounds_is_refused(query: Query, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        task_ids(query)

    assert caught.value.code == code
    assert "task_ids" in caught.value.detail


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Page()),
        ({"cursor": ["7"]}, Page(7)),
        ({"limit": ["1000"]}, Page(0, 1_000)),
        ({"cursor": ["1", "2"], "limit": ["3"]}, Page(2, 3)),
        ({"status": ["failed"]}, Page(status=TaskStatus.FAILED)),
        ({"status": [""], "fields": [""]}, Page()),
        ({"fields": ["size,tasks", " status "]}, Page(fields=frozenset({"size", "tasks", "status"}))),
    ],
)
def test_a_page_has_a_start_and_a_size(query: Query, expected: Page) -> None:
    assert page(query) == expected


@pytest.mark.parametrize("name", ["cursor", "limit"])
@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "²", "٣", "10001", "9" * 5_000])
def test_a_wrong_page_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        page({name: [text]})

    assert caught.value.code == f"invalid_{name}"
    assert name in caught.value.detail


@pytest.mark.parametrize("text", ["Failed", "ended", "not_found", "failed,queued", "x" * 5_000])
def test_a_status_that_no_task_has_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        page({"status": [text]})

    assert caught.value.code == "invalid_status"


def test_fields_are_those_that_there_are() -> None:
    assert fields({}, TASK_FIELDS) is None
    assert fields({"fields": ["result,status"]}, TASK_FIELDS) == frozenset({"result", "status"})
    with pytest.raises(InvalidRequest) as caught:
        fields({"fields": ["result,prompt"]}, TASK_FIELDS)
    assert caught.value.code == "invalid_fields"
    assert "partial_result" in caught.value.detail


@pytest.mark.parametrize(
    "asked",
    [Page(), Page(7, 3, TaskStatus.FAILED), Page(0, 1, fields=frozenset({"tasks", "size"}))],
)
def test_the_following_page_asks_for_the_same(asked: Page) -> None:
    query = parse_qs(asked.following(9).removeprefix("?"))

    assert page(query) == replace(asked, start=9)
