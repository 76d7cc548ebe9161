"""Progress: real, at most once a second, and never at the cost of an answer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from common.api.pagination import MOST_BYTES, MOST_PARTIAL_CHARACTERS, size_of
from common.domain.task import Answer, FailureCode, TaskStatus
from common.kinds.tokens import DEFAULT_ANSWER_TOKENS
from common.worker.message import OutcomeKind
from common.worker.token_estimates import expected_tokens
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
    assert [len(note.partial or "") for note in notes] == pytest.approx([10, 20, 30, 40], abs=1)
    assert all(note.percent == 100 * len(note.partial or "") // 90 for note in notes)


def test_progress_stays_below_100_until_the_answer_is_recorded(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers("x", seconds=3.5, pieces=350)

    stage.work(stage.delivery("prompt", expected_tokens=10))

    assert {notes[0].percent for _, notes in stage.store.notes} == {99}
    record = stage.record("prompt")
    assert record is not None
    assert record.progress == 100


@pytest.mark.parametrize(("letter", "code"), [("x", None), ("😀", FailureCode.ANSWER_TOO_LARGE)])
def test_of_a_long_text_as_much_is_noted_as_the_api_can_show(
    stage: Stage, letter: str, code: FailureCode | None
) -> None:
    piece = letter * (MOST_PARTIAL_CHARACTERS // 3 + 1)
    stage.model.scripts["prompt"] = answers(piece, seconds=5.5, pieces=5)

    stage.work(stage.delivery("prompt"))

    partials = [note.partial for _, [note] in stage.store.notes]
    assert partials == [None, piece, piece * 2, (piece * 3)[:MOST_PARTIAL_CHARACTERS], None]
    longest = partials[3] or ""
    assert size_of({"partial_result": longest}) < MOST_BYTES
    record = stage.record("prompt")
    assert record is not None
    assert record.code is code


def test_an_answer_that_has_not_grown_is_looked_at_without_its_text(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers("x", seconds=9, pieces=2)

    stage.work(stage.delivery("prompt"))

    seen = [(at, note.percent, note.partial) for at, [note] in stage.store.notes]
    silent, begun = [(at, 0, None) for at in (1, 2, 3, 4)], [(at, 1, None) for at in (6, 7, 8)]
    assert seen == [*silent, (5, 1, "x"), *begun]


def test_a_cancel_ends_the_call_of_a_model_that_is_silent_within_two_seconds(stage: Stage) -> None:
    cancelled_at = 10.3
    cancels: list[asyncio.Task[Any]] = []

    async def hangs(_: Callable[[str], None]) -> Answer:
        cancel = stage.store.cancel([stage.task("prompt").ref])
        stage.loop.call_at(cancelled_at, lambda: cancels.append(stage.loop.create_task(cancel)))
        await asyncio.sleep(100)
        raise AssertionError("nobody ended the call")

    stage.model.scripts["prompt"] = hangs
    stage.work(stage.delivery("prompt"))

    assert stage.journal.endings["prompt"].kind is OutcomeKind.LOST
    assert stage.loop.now - cancelled_at <= 2
    assert stage.model.running == set()


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
        (None, {}, DEFAULT_ANSWER_TOKENS),
        (70, {}, 70),
        (None, {"max_tokens": 50}, 50),
        (None, {"max_completion_tokens": 60}, 60),
        (70, {"max_tokens": 50}, 50),
        (30, {"max_tokens": 500}, 30),
        (None, {"max_tokens": "50", "max_completion_tokens": True}, DEFAULT_ANSWER_TOKENS),
        (None, {"max_tokens": 0}, DEFAULT_ANSWER_TOKENS),
    ],
)
def test_the_expected_length_is_the_smallest_that_was_stated(
    stage: Stage, stated: int | None, params: dict[str, Any], expected: int
) -> None:
    assert expected_tokens(stage.message("prompt", expected_tokens=stated, params=params)) == expected
