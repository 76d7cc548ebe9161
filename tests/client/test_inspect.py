"""The commands that look at what was sent, and ask again."""

import json
from pathlib import Path

import pytest

from tests.client.command import sluice
from tests.client.service import Service, problem


@pytest.fixture
def output(service: Service, tmp_path: Path) -> Path:
    """Results of three batches: b0, b1 and b2."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nc\n")
    assert sluice(service.url, "run", source, "-o", output, "--chunk-size", "1").returncode == 0
    return output


def made(service: Service, *batch_ids: str) -> None:
    for batch_id in batch_ids:
        body = {"batch_id": f"{batch_id}-again", "task_ids": [f"{batch_id}-again-0"], "status": "queued"}
        service.fail(202, f"/batches/{batch_id}/retry", body=body)


@pytest.mark.parametrize("as_json", [False, True], ids=["for people", "as JSON"])
def test_a_retry_refused_half_way_prints_the_batches_so_far(service: Service, output: Path, *, as_json: bool) -> None:
    made(service, "b0", "b1")
    service.fail(429, "/batches/b2/retry", Retry_After="3600", body=problem(429, "budget_exhausted"))

    done = sluice(service.url, "retry", output, *(["--json"] if as_json else []))

    assert done.returncode == 4
    assert "budget_exhausted" in done.stderr
    if as_json:
        told = json.loads(done.stdout)["batches"]
        assert told == [{"batch_id": f"{of}-again", "of": of, "tasks": 1, "replayed": False} for of in ("b0", "b1")]
    else:
        assert done.stdout.splitlines() == [f"{of}-again  1 tasks of {of} submitted again" for of in ("b0", "b1")]


def test_a_retry_skips_a_batch_without_failed_tasks(service: Service, output: Path) -> None:
    service.fail(409, "/batches/b0/retry", body=problem(409, "nothing_to_retry"))
    service.fail(409, "/batches/b2/retry", body=problem(409, "nothing_to_retry"))
    made(service, "b1")

    done = sluice(service.url, "retry", output)

    assert (done.returncode, done.stdout) == (0, "b1-again  1 tasks of b1 submitted again\n")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["b0", "b2"]


def test_a_second_retry_says_that_it_is_the_first_one_again(service: Service, output: Path) -> None:
    body = {"batch_id": "b0-again", "task_ids": ["b0-again-0"], "status": "queued"}
    service.fail(202, "/batches/b0/retry", body=body, Idempotent_Replayed="true")
    service.fail(409, "/batches/b1/retry", body=problem(409, "nothing_to_retry"))
    service.fail(409, "/batches/b2/retry", body=problem(409, "nothing_to_retry"))

    done = sluice(service.url, "retry", output)

    assert (done.returncode, done.stdout) == (
        0,
        "b0-again  an earlier retry of b0; no task has failed since\n",
    )


@pytest.mark.parametrize("command", ["status", "watch", "results", "cancel", "retry"])
@pytest.mark.parametrize("name", ["out.json", "ot.jsonl", "missing/out.jsonl"])
def test_a_mistyped_file_name_is_a_missing_file_and_not_an_unknown_batch(
    service: Service, output: Path, command: str, name: str
) -> None:
    done = sluice(service.url, command, output.parent / name)

    assert done.returncode == 2
    assert "There is no file" in done.stderr
    assert ("did you mean" in done.stderr) is ("missing" not in name)
    assert "batch" not in done.stderr


def test_a_name_that_may_be_an_id_or_a_file_is_reported_as_both(service: Service) -> None:
    service.fail(404, "/batches/results", body=problem(404, "not_found"))

    done = sluice(service.url, "status", "results")

    assert done.returncode == 4
    assert "Check the ID" in done.stderr
    assert "results file" in done.stderr


def test_a_cancelled_task_that_had_ended_says_why_the_command_fails(service: Service, output: Path) -> None:
    assert output.exists()
    service.fail(409, "/cancel", body=problem(409, "already_ended"))

    done = sluice(service.url, "cancel", "b0-0")

    assert done.returncode == 1
    assert "b0-0 was not cancelled: it had ended, as completed" in done.stderr


@pytest.mark.parametrize(("cancelled", "code"), [(0, 1), (1, 0)], ids=["nothing", "one task"])
def test_a_cancelled_batch_that_had_ended_says_so(service: Service, output: Path, cancelled: int, code: int) -> None:
    assert output.exists()
    counts = {"completed": 1, "cancelled": cancelled}
    service.fail(200, "/cancel", body={"batch_id": "b0", "status": "ended", "size": 1, "counts": counts})

    done = sluice(service.url, "cancel", "b0")

    assert done.returncode == code
    assert ("Nothing was cancelled" in done.stderr) is (code == 1)


@pytest.mark.parametrize("as_json", [False, True], ids=["for people", "as JSON"])
def test_the_status_of_a_half_sent_run_names_its_batches_and_counts_what_was_not_sent(
    service: Service, tmp_path: Path, *, as_json: bool
) -> None:
    # GIVEN a run of three prompts of which the service accepted two
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nc\n")
    service.pace = 0
    service.fail(403, lambda seen: seen.method == "POST" and "c" in seen.body["prompts"][0]["prompt"])
    assert sluice(service.url, "run", source, "-o", output, "--chunk-size", "1").returncode == 4

    done = sluice(service.url, "status", output, *(["--json"] if as_json else []))

    if as_json:
        shown = json.loads(done.stdout)
        assert (shown["not_sent"], [batch["batch_id"] for batch in shown["batches"]]) == (1, ["b0", "b1"])
    else:
        assert [word for word in done.stdout.split() if word in {"b0", "b1", "b2"}] == ["b0", "b1"]
        assert "not sent" in done.stdout
