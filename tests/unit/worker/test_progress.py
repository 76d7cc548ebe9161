"""Progress: real, at most once a second, and never at the cost of an answer."""

from typing import Any

import pytest

from common.tasks import TaskStatus
from functions.worker.progress import DEFAULT_TOKENS, expected_tokens
from tests.unit.worker.stage import Stage, answers


def test_all_running_answers_are_noted_together_once_a_second(stage: Stage) -> None:
    for prompt in ("one", "two"):
        stage.model.scripts[prompt] = answers("x", seconds=4.5, pieces=45)

    stage.work(*(stage.delivery(prompt, expected_tokens=90) for prompt in ("one", "two")))

    times = [at for at, _ in stage.store.notes]
    assert times == pytest.approx([1, 2, 3, 4])
    assert all(len(notes) == 2 for _, notes in stage.store.notes), "one pipeline for both"


def test_progress_counts_pieces_against_the_expected_length_and_shows_the_text_so_far(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers("x", seconds=4.5, pieces=45)

    stage.work(stage.delivery("prompt", expected_tokens=90))

    notes = [notes[0] for _, notes in stage.store.notes]
    assert [len(note.partial) for note in notes] == pytest.approx([10, 20, 30, 40], abs=1)
    assert all(note.percent == 100 * len(note.partial) // 90 for note in notes)


def test_progress_stays_below_100_until_the_answer_is_recorded(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers("x", seconds=3.5, pieces=350)

    stage.work(stage.delivery("prompt", expected_tokens=10))

    assert {notes[0].percent for _, notes in stage.store.notes} == {99}
    record = stage.record("prompt")
    assert record is not None
    assert record.progress == 100


def test_an_answer_that_has_not_grown_is_not_noted_again(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers("x", seconds=10, pieces=2)

    stage.work(stage.delivery("prompt"))

    assert [at for at, _ in stage.store.notes] == pytest.approx([5], abs=1)


def test_a_store_that_takes_no_notes_costs_nothing_but_the_notes(stage: Stage) -> None:
    stage.store.goes_down("progress", until=2.5)
    stage.model.scripts["prompt"] = answers("x", seconds=4.5, pieces=45)

    assert stage.work(stage.delivery("prompt")) == []

    assert [at for at, _ in stage.store.notes] == pytest.approx([3, 4])
    assert stage.journal.faults == []
    record = stage.record("prompt")
    assert record is not None
    assert record.status is TaskStatus.COMPLETED


def test_a_fault_in_the_notes_is_told_and_costs_no_answer(stage: Stage) -> None:
    stage.store.progress_error = ZeroDivisionError()
    stage.model.scripts["prompt"] = answers("x", seconds=2.5, pieces=25)

    assert stage.work(stage.delivery("prompt")) == []

    assert [type(fault) for fault in stage.journal.faults] == [ZeroDivisionError, ZeroDivisionError]


@pytest.mark.parametrize(
    ("stated", "params", "expected"),
    [
        (None, {}, DEFAULT_TOKENS),
        (70, {}, 70),
        (None, {"max_tokens": 50}, 50),
        (None, {"max_completion_tokens": 60}, 60),
        (70, {"max_tokens": 50}, 50),
        (30, {"max_tokens": 500}, 30),
        (None, {"max_tokens": "50", "max_completion_tokens": True}, DEFAULT_TOKENS),
        (None, {"max_tokens": 0}, DEFAULT_TOKENS),
    ],
)
def test_the_expected_length_is_the_smallest_that_was_stated(
    stage: Stage, stated: int | None, params: dict[str, Any], expected: int
) -> None:
    assert expected_tokens(stage.message("prompt", expected_tokens=stated, params=params)) == expected
