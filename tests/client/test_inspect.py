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
        assert told == [{"batch_id": f"{of}-again", "of": of, "tasks": 1} for of in ("b0", "b1")]
    else:
        assert done.stdout.splitlines() == [f"{of}-again  1 tasks of {of} submitted again" for of in ("b0", "b1")]


def test_a_retry_skips_a_batch_without_failed_tasks(service: Service, output: Path) -> None:
    service.fail(409, "/batches/b0/retry", body=problem(409, "nothing_to_retry"))
    service.fail(409, "/batches/b2/retry", body=problem(409, "nothing_to_retry"))
    made(service, "b1")

    done = sluice(service.url, "retry", output)

    assert (done.returncode, done.stdout) == (0, "b1-again  1 tasks of b1 submitted again\n")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["b0", "b2"]
