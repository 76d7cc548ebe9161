"""`sluice run --retry-failed`: the failed prompts of a run are asked again, and their results take their places."""

import csv
import json
import signal
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from sluice._cli.journal import finish_replacement, healed_path, journal_path
from tests.client.command import SECONDS, lines, sluice, started
from tests.client.service import Seen, Service, problem

FAILED = {"status": "failed", "error": {"code": "content_policy", "detail": "Refused."}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{n}", "custom_id": f"c{n}"}) + "\n" for n in range(30)))
    return path


def failed_run(service: Service, source: Path, output: Path, *options: str) -> None:
    """Run a file of which three prompts of two batches fail; the next time they do not."""
    service.outcomes |= dict.fromkeys(("p3", "p4", "p15"), FAILED)
    assert sluice(service.url, "run", source, "-o", output, "--chunk-size", "10", *options).returncode == 1
    service.outcomes.clear()


@pytest.mark.parametrize("shape", ["jsonl", "openai", "csv", "text", "jsonl --as-completed"])
def test_the_results_of_failed_prompts_are_replaced_in_every_format(
    service: Service, source: Path, tmp_path: Path, shape: str
) -> None:
    # GIVEN a run with three failures, and the same run without
    output, expected = tmp_path / "out", tmp_path / "expected"
    options = ["--shape", *shape.split()]
    failed_run(service, source, output, *options)
    before = output.read_text().splitlines()
    assert sluice(service.url, "run", source, "-o", expected, "--fresh", *options).returncode == 0

    # WHEN the failed prompts are retried
    done = sluice(service.url, "run", source, "-o", output, "--retry-failed", *options)

    # THEN only their results differ, each prompt has its result, and only the failed ones were asked again
    assert done.returncode == 0, done.stderr
    after = output.read_text().splitlines()
    header = 1 if shape == "csv" else 0
    changed = [n - header for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert len(changed) == 3
    assert changed == [3, 4, 15] or "as-completed" in shape
    assert all("Re: p" in line for line in after[header:])
    assert sorted(service.asked.count(f"p{n}") for n in (3, 4, 15)) == [3, 3, 3]
    assert "30 completed" in done.stderr


def test_a_repeated_retry_asks_nothing_again_and_keeps_the_file(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    failed_run(service, source, output)
    sluice(service.url, "run", source, "-o", output, "--retry-failed")
    healed, asked = output.read_bytes(), len(service.asked)

    again = sluice(service.url, "run", source, "-o", output, "--retry-failed")
    plain = sluice(service.url, "run", source, "-o", output)

    assert (again.returncode, plain.returncode) == (0, 0)
    assert (output.read_bytes(), len(service.asked)) == (healed, asked)


def test_a_retry_made_before_by_its_own_command_is_found(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    failed_run(service, source, output)
    assert sluice(service.url, "retry", output).returncode == 0
    asked = len(service.asked)

    done = sluice(service.url, "run", source, "-o", output, "--retry-failed")

    assert done.returncode == 0, done.stderr
    assert len(service.asked) == asked
    assert all(each["status"] == "completed" for each in lines(output))


def test_a_prompt_that_fails_again_can_be_retried_again(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    failed_run(service, source, output)
    service.outcomes["p4"] = FAILED
    second = sluice(service.url, "run", source, "-o", output, "--retry-failed")
    service.outcomes.clear()

    third = sluice(service.url, "run", source, "-o", output, "--retry-failed", "--json")

    assert (second.returncode, third.returncode) == (1, 0)
    assert json.loads(third.stdout)["completed"] == 30
    assert [each["result"] for each in lines(output)] == [f"Re: p{n}" for n in range(30)]


def test_an_interrupted_retry_leaves_the_old_results_and_continues(
    service: Service, source: Path, tmp_path: Path
) -> None:
    # GIVEN a retry that is interrupted while its tasks run
    output = tmp_path / "out.jsonl"
    failed_run(service, source, output)
    before, polled, answer = output.read_bytes(), threading.Event(), service.answer

    def watching(seen: Seen) -> tuple[int, dict[str, str], Any]:
        if "prefer" in seen.headers and "b0r-0" in str(seen.query):
            polled.set()
        return answer(seen)

    service.answer, service.pace = watching, 0  # type: ignore[method-assign]
    with started(service.url, "run", source, "-o", output, "--retry-failed") as run:
        assert polled.wait(SECONDS)
        run.send_signal(signal.SIGINT)
        _, told = run.communicate(timeout=SECONDS)
    assert run.returncode == 130
    assert "3 tasks are under way, in b0r, b1r" in told
    assert output.read_bytes() == before

    # WHEN the same command is given again
    service.pace, asked = 10_000, len(service.asked)
    done = sluice(service.url, "run", source, "-o", output, "--retry-failed")

    # THEN it waits for the same tasks
    assert done.returncode == 0, done.stderr
    assert len(service.asked) == asked
    assert [each["result"] for each in lines(output)] == [f"Re: p{n}" for n in range(30)]


@pytest.mark.parametrize("matches", [True, False], ids=["recorded", "not recorded"])
def test_a_replacement_that_a_crash_interrupted_is_finished_if_the_journal_has_it(
    tmp_path: Path, *, matches: bool
) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("old\n")
    healed_path(output).write_text("new!\n")
    journal_path(output).write_text(json.dumps({"healed": {}, "offset": 5 if matches else 6, "counts": {}}) + "\n")

    finish_replacement(output)

    assert output.read_text() == ("new!\n" if matches else "old\n")


def test_the_new_file_has_the_mode_of_the_old_one(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    failed_run(service, source, output)

    sluice(service.url, "run", source, "-o", output, "--retry-failed")

    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.jsonl.sluice"]


def test_a_service_that_keeps_no_request_is_reported_and_the_results_stay(
    service: Service, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    failed_run(service, source, output)
    before = output.read_bytes()
    service.fail(409, "/retry", times=2, body=problem(409, "nothing_to_retry"))

    done = sluice(service.url, "run", source, "-o", output, "--retry-failed")

    assert done.returncode == 1
    assert "This is nothing_to_retry" in done.stderr
    assert output.read_bytes() == before


def test_cells_that_were_neutralised_stay_so(service: Service, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('prompt,note\n"p\n0",x\np1,y\n')
    service.outcomes |= {"p\n0": {"status": "completed", "result": "=1"}, "p1": FAILED}
    assert sluice(service.url, "run", source, "-o", output).returncode == 1
    service.outcomes["p1"] = {"status": "completed", "result": "=2"}

    sluice(service.url, "run", source, "-o", output, "--retry-failed")

    with output.open(newline="") as file:
        assert [(row["prompt"], row["result"]) for row in csv.DictReader(file)] == [("p\n0", "'=1"), ("p1", "'=2")]


@pytest.mark.parametrize("options", [(), ("-o", "-"), ("-o", "/dev/null")], ids=str)
def test_results_that_are_no_file_cannot_be_healed(service: Service, source: Path, options: tuple[str, ...]) -> None:
    done = sluice(service.url, "run", source, "--retry-failed", *options)

    assert (done.returncode, service.seen) == (2, [])
    assert "-o FILE" in done.stderr
