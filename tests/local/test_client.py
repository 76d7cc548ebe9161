"""Test the client and its command on the stack: docs/tutorial.md and docs/client.md as written."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from operator import le
from pathlib import Path
from typing import Final

import httpx2
import pytest

from local.answers import prompt_digest
from local.settings import ROOT
from sluice import AlreadyEndedError, Delta, Ended, NothingToRetryError, Sluice, StatusChanged
from tests.local import pages
from tests.local_stack import Up, eventually

pytestmark = pytest.mark.timeout(900)  # 1,000 products, on a machine that does other things too

TUTORIAL: Final = pages.commands(ROOT / "docs" / "tutorial.md")
CLIENT: Final = ROOT / "docs" / "client.md"
SHOWN_ADDRESS: Final = "http://127.0.0.1:8000"
SECONDS: Final = 200


@pytest.fixture
def sluice(stack: Up) -> Iterator[Sluice]:
    with httpx2.Client(trust_env=False) as http, Sluice(stack.url, "local", http=http) as client:
        yield client


def environment(stack: Up) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "PATH": path, "SLUICE_URL": stack.url, "SLUICE_API_KEY": "local", "COLUMNS": "120"}


def paste(stack: Up, folder: Path, commands: str) -> str:
    """Run commands as they are written and return what they print."""
    done = subprocess.run(
        ["sh", "-eu", "-c", commands], cwd=folder, env=environment(stack), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@contextmanager
def pasted(stack: Up, folder: Path, commands: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start commands in a group of their own, as a terminal does; nothing of it outlives the block."""
    process = subprocess.Popen(
        ["sh", "-eu", "-c", f"exec {commands}"],
        cwd=folder,
        env=environment(stack),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def times_asked(stack: Up, prompts: list[str]) -> list[int]:
    by_prompt = stack.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    return [by_prompt.get(prompt_digest(prompt), 0) for prompt in prompts]


def results_in(path: Path) -> int:
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def test_the_tutorial_does_what_it_says_and_nothing_is_asked_twice_though_it_is_killed(
    stack: Up, tmp_path: Path
) -> None:
    # GIVEN the tutorial up to its run
    assert SHOWN_ADDRESS in TUTORIAL["tutorial prepare"]
    assert paste(stack, tmp_path, TUTORIAL["tutorial products"]).startswith("custom_id,name,material,colour\nsku-0001,")
    assert "1,000 prompts" in paste(stack, tmp_path, TUTORIAL["tutorial check"])
    output = tmp_path / "descriptions.csv"

    # WHEN the run is ended three times, in each way there is, and given again
    for number, share in ((signal.SIGKILL, 150), (signal.SIGINT, 350), (signal.SIGKILL, 600)):
        with pasted(stack, tmp_path, TUTORIAL["tutorial run"]) as run:
            assert eventually(partial(results_in, output), until=partial(le, share), seconds=SECONDS) >= share
            run.send_signal(number)
            assert run.wait(60) == (130 if number is signal.SIGINT else -number)
        assert results_in(output) < 1_000
    paste(stack, tmp_path, TUTORIAL["tutorial run"])

    # THEN every product has its description, in its order, and the model was asked once for each
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["custom_id"] for row in rows] == [f"sku-{number:04}" for number in range(1, 1_001)]
    assert all(row["status"] == "completed" and row["result"] for row in rows)
    template = (tmp_path / "describe.txt").read_text()
    assert times_asked(stack, [template.format(**row) for row in rows]) == [1] * 1_000
    # and what it says of the results is so
    looked = paste(stack, tmp_path, TUTORIAL["tutorial look"])
    assert re.search(r"^1001 descriptions.csv$", looked, re.MULTILINE)
    assert re.search(r"^completed +1,000 *$", looked, re.MULTILINE)
    ended = json.loads(paste(stack, tmp_path, TUTORIAL["tutorial script"]))
    assert (ended["completed"], ended["failed"], ended["exit"]) == (1_000, 0, 0)


def test_every_command_of_the_tutorial_is_run_by_the_test_above() -> None:
    assert TUTORIAL.pop(pages.UNMARKED).strip() == "make local CONCURRENCY=20"
    parts = ("prepare", "products", "check", "run", "look", "script")
    assert set(TUTORIAL) == {f"tutorial {part}" for part in parts}


def test_a_text_is_followed_as_it_grows_and_from_where_another_process_was(sluice: Sluice) -> None:
    [task_id] = sluice.submit(["Follow me [[tokens:60]] [[delay:0.05]]"]).task_ids

    events = list(sluice.stream(task_id))

    texts = [event.text for event in events if isinstance(event, Delta)]
    assert isinstance(events[-1], Ended)
    assert "".join(texts) == events[-1].task.text
    assert len(texts) > 1
    assert any(isinstance(event, StatusChanged) for event in events)
    half = next(place for place, event in enumerate(events) if isinstance(event, Delta))
    rest = [event.text for event in sluice.stream(task_id, after=events[half].id) if isinstance(event, Delta)]
    assert "".join(rest) == "".join(texts[1:])


def test_2_500_prompts_are_mapped_with_no_more_under_way_than_allowed(sluice: Sluice) -> None:
    taken = 0

    def prompts() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 2_501):
            yield f"Map {taken} [[tokens:1]]"

    outcomes = ahead = 0
    for outcome in sluice.map(prompts(), in_flight=500):
        assert (outcome.index, outcome.task.status) == (outcomes, "completed")
        outcomes += 1
        ahead = max(ahead, taken - outcomes)

    assert outcomes == 2_500
    assert ahead <= 600


def test_what_failed_is_asked_again_and_what_has_ended_is_taken_back_no_more(sluice: Sluice) -> None:
    submission = sluice.submit(["[[fault:401x1]] Once more", "Fine"])
    failed, fine = sluice.wait(submission, timeout=SECONDS)
    assert (failed.status, fine.status) == ("failed", "completed")

    again = sluice.retry(submission.batch_id)

    [task] = sluice.wait(again, timeout=SECONDS)
    assert task.status == "completed"
    assert sluice.retry(submission.batch_id, idempotency_key=again.idempotency_key).task_ids == again.task_ids
    assert sluice.get(failed.task_id).raw["retried_as"] == task.task_id
    assert sluice.retry(submission.batch_id).task_ids == again.task_ids
    with pytest.raises(NothingToRetryError):
        sluice.retry(again.batch_id)
    with pytest.raises(AlreadyEndedError):
        sluice.cancel(fine.task_id)


def test_the_readme_sends_a_file_and_maps_prompts(stack: Up, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    example, _ = [block.text for block in pages.blocks(pages.README) if block.kind == "python"]  # the other: tests/sdk

    paste(stack, tmp_path, pages.commands()["command"].replace(SHOWN_ADDRESS, stack.url))
    said = paste(stack, tmp_path, f"python - <<'END'\n{example}END\n")

    assert results_in(tmp_path / "out.jsonl") + 1 == 12
    assert len(said.splitlines()) == 2


def test_the_python_of_the_reference_does_what_it_says(stack: Up, tmp_path: Path) -> None:
    (tmp_path / "topics.txt").write_text("rain\nsnow\n")
    examples = [block.text for block in pages.blocks(CLIENT) if block.kind == "python"]
    assert len(examples) == 4

    said = [paste(stack, tmp_path, f"python - <<'END'\n{example}END\n") for example in examples]

    waited, completed, mapped, followed = (text.splitlines() for text in said)
    assert [len(waited), len(completed), len(mapped)] == [2, 2, 2]
    assert waited[1].startswith("food ")
    assert mapped[0] == "0 A haiku about rain. completed"
    assert followed[-1] == "completed"
    assert len(followed[0]) > 20


def test_the_commands_of_the_reference_do_what_it_says(stack: Up, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    said = paste(stack, tmp_path, pages.commands(CLIENT)["command"])

    assert [results_in(tmp_path / name) + 1 for name in ("out.jsonl", "batch-out.jsonl")] == [12, 4]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert all(row["status"] == "completed" for row in csv.DictReader(file))
    assert "prompts.jsonl is complete: 12 completed" in said


def test_the_other_commands_speak_of_a_run_by_its_file(stack: Up, tmp_path: Path) -> None:
    # GIVEN a run with one prompt that fails
    prompts = ["[[fault:401x1]] By its file", "By its file too"]
    (tmp_path / "in.txt").write_text("".join(f"{prompt}\n" for prompt in prompts))
    run = "sluice run in.txt -o out.jsonl --quiet || [ $? = 1 ]\n"

    # WHEN its failure is asked again THEN the new batch is told, and has its answer
    told = json.loads(paste(stack, tmp_path, f"{run}sluice retry out.jsonl --json"))
    [batch] = told["batches"]
    watched = paste(stack, tmp_path, f"sluice watch {batch['batch_id']} --json")
    assert json.loads(watched)["counts"]["completed"] == 1
    result = json.loads(paste(stack, tmp_path, f"sluice results {batch['batch_id']}"))
    assert (result["task_id"], result["status"]) == (f"{batch['batch_id']}-0", "completed")
    # and a text can be read by its id, and has nothing left to cancel
    task_id = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])["task_id"]
    assert len(paste(stack, tmp_path, f"sluice stream {task_id}")) > 20
    cancelled = json.loads(paste(stack, tmp_path, "sluice cancel out.jsonl --json 2>cancel.txt || [ $? = 1 ]"))
    assert cancelled["counts"]["cancelled"] == 0
    assert "every task had ended" in (tmp_path / "cancel.txt").read_text()
