"""The journal: what it tells after any end."""

import json
from pathlib import Path

import pytest

from sluice import Task
from sluice._cli.exit_codes import ExitCode, ExitError
from sluice._cli.journal import Journal, SentChunk, journal_path, read_history, to_ranges
from sluice._cli.outcome_counts import OutcomeCounts

HEADER = {"source": "s", "chunk": 10, "total": 30, "nonce": ""}


def counts(completed: int) -> OutcomeCounts:
    return OutcomeCounts(completed=completed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl.sluice"
    journal = Journal(path)
    journal.begin(HEADER)
    journal.sending(SentChunk(0, 10, "k0"))
    journal.accepted(0, "b0")
    journal.sending(SentChunk(10, 10, "k1"))
    journal.written([0, 1, 5], 100, counts(3))
    journal.written([2], 130, counts(4))
    journal.close()
    return path


def test_a_journal_records_sent_chunks_and_written_results(path: Path) -> None:
    history = read_history(path, 130)

    assert history is not None
    assert history.sent == {0: SentChunk(0, 10, "k0", "b0"), 10: SentChunk(10, 10, "k1")}
    assert [place for place in range(30) if history.is_done(place)] == [0, 1, 2, 5]
    assert (history.offset, history.counts.completed, history.length) == (130, 4, path.stat().st_size)


@pytest.mark.parametrize("torn", [b'{"first": 20', b"\0\0\0\n", b"[]\n", b'{"done": [[3,4]], "offset": 9'])
def test_an_incomplete_last_line_is_dropped_and_overwritten(path: Path, torn: bytes) -> None:
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + torn)

    history = read_history(path, 130)
    assert history is not None
    journal = Journal(path)
    journal.resume(history.length)
    journal.sending(SentChunk(20, 10, "k2"))
    journal.close()

    assert history.length == whole
    assert [json.loads(line) for line in path.read_text().splitlines()][-1] == {"first": 20, "count": 10, "key": "k2"}


def test_results_that_were_lost_are_not_counted(path: Path) -> None:
    # a crash of the machine kept the journal, and of the results only what an earlier entry speaks of
    history = read_history(path, 115)

    assert history is not None
    assert [place for place in range(30) if history.is_done(place)] == [0, 1, 5]
    assert (history.offset, history.counts.completed) == (100, 3)


def test_one_run_at_a_time_writes_a_file(path: Path) -> None:
    first = Journal(path)
    with pytest.raises(ExitError, match="Another run") as caught:
        Journal(path)
    first.close()
    Journal(path).close()

    assert caught.value.code == ExitCode.USAGE


def test_a_file_that_is_not_a_journal_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.sluice"
    path.write_text('{"sluice": 99}\n')
    with pytest.raises(ExitError, match="not a journal"):
        read_history(path, 0)
    path.write_text("")
    assert read_history(path, 0) is None


def test_indexes_are_written_as_ranges() -> None:
    assert list(to_ranges([5, 1, 2, 3, 9])) == [(1, 4), (5, 6), (9, 10)]
    assert list(to_ranges([])) == []


def test_money_is_added_exactly_and_survives_the_journal() -> None:
    counted = OutcomeCounts()
    for _ in range(3):
        counted.add(
            Task.of({"task_id": "a", "status": "completed", "cost": {"usd": "0.1"}, "usage": {"total_tokens": 2}})
        )
    counted.add(Task.of({"task_id": "a", "status": "expired"}))

    again = OutcomeCounts.of(json.loads(json.dumps(counted.as_json())))

    assert again == counted
    assert (str(again.usd), again.tokens, again.ended, again.without_answer) == ("0.3", 6, 4, 1)


def test_the_journal_is_beside_the_results() -> None:
    assert journal_path(Path("a/b.jsonl")) == Path("a/b.jsonl.sluice")
