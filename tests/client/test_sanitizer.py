"""What an answer may not do to the terminal or the spreadsheet of the person who reads it."""

import csv
import json
import os
import pty
import re
import stat
import subprocess
from pathlib import Path

import pytest

from sluice._cli.sanitizer import for_spreadsheet, for_terminal
from tests.client.command import SECONDS, SLUICE, environment, sluice
from tests.client.service import Service, problem

ATTACKS = {
    "clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "c1 csi": "\x9b2J",
    "c1 osc": "\x9d52;c;cm0=\x9c",
    "device control": "\x1bP$q\x1b\\",
    "carriage return": "safe\revil",
    "backspace": "evil\x08\x08",
    "delete": "\x7f",
    "bidi override": "\u202egnp.exe",
    "bidi isolate": "\u2066a\u2069",
    "line separator": "a\u2028b",
    "tags": "\U000e0041",
    "null": "\x00",
}
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
ALL = " ".join(ATTACKS.values())


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_no_control_character_is_left_for_a_terminal_and_json_still_means_the_same(text: str) -> None:
    assert not UNSAFE.search(for_terminal(text))
    line = json.dumps({"result": text}, ensure_ascii=False)
    assert json.loads(for_terminal(line)) == {"result": text}


@pytest.mark.parametrize("text", ["Grüße, 世界 👩‍👩‍👧", "a\tb\nc\r\nd", "\\u001b", "مرحبا שלום"])
def test_text_of_any_language_is_left_alone(text: str) -> None:
    assert for_terminal(text) == text


def test_half_a_character_is_escaped() -> None:
    assert for_terminal("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    "cell",
    [
        *("=1+1", '=HYPERLINK("http://evil")', "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "-", "+cmd|x"),
        "\uff1d1",
    ],
)
def test_a_cell_that_begins_like_a_formula_is_text(cell: str) -> None:
    assert for_spreadsheet(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-5", "+49", "-1.5e-3", "a=b", "", "3-2", 7, "'=1"])
def test_numbers_and_other_cells_are_left_alone(cell: object) -> None:
    assert for_spreadsheet(cell) == cell


def on_a_terminal(url: str, *words: str | Path) -> str:
    """Run a command whose output and errors are a terminal, and return all that it wrote there."""
    parent, child = pty.openpty()
    with os.fdopen(parent, "rb", buffering=0) as terminal:
        variables = environment(url, TERM="dumb", NO_COLOR="1")
        command = [*SLUICE, *map(str, words)]
        with subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=child, stderr=child) as process:
            os.close(child)
            written = b""
            while part := read_part(terminal.fileno()):
                written += part
            process.wait(SECONDS)
    return written.decode()


def read_part(file: int) -> bytes:
    try:
        return os.read(file, 65_536)
    except OSError:  # Linux's end of file for a terminal
        return b""


def assert_harmless(shown: str) -> None:
    # A terminal gets CR LF for each line break.
    assert not UNSAFE.search(shown.replace("\r\n", "\n")), ascii(shown)


@pytest.fixture
def source(service: Service, tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("a\n")
    service.outcomes["a"] = {"status": "completed", "result": ALL, "finish_reason": ALL}
    return path


@pytest.mark.parametrize("shape", ["text", "jsonl", "openai", "csv"])
def test_run_writes_no_answer_raw_to_a_terminal(service: Service, source: Path, shape: str) -> None:
    shown = on_a_terminal(service.url, "run", source, "--shape", shape, "-q")

    assert "owned" in shown
    assert_harmless(shown)


@pytest.mark.parametrize(
    "words",
    [("status", "b0-0"), ("status", "b0-0", "--json"), ("results", "b0-0"), ("cancel", "b0-0"), ("stream", "b0-0")],
    ids=" ".join,
)
def test_no_command_writes_an_answer_raw_to_a_terminal(service: Service, source: Path, words: tuple[str, ...]) -> None:
    sluice(service.url, "run", source)
    error = {"code": ALL, "detail": ALL}
    service.tasks["b0-0"] |= {"status": "failed", "error": error, "batch_id": ALL}
    if words[0] == "cancel":
        service.fail(409, "/cancel", body=problem(409, "already_ended"))
    ended = json.dumps(service.tasks["b0-0"])
    delta = json.dumps({"text": ALL})
    service.streams.append((200, f"event: delta\nid: 1\ndata: {delta}\n\nevent: ended\nid: 2\ndata: {ended}\n\n"))

    shown = on_a_terminal(service.url, *words)

    assert "owned" in shown
    assert_harmless(shown)


def test_no_error_text_reaches_a_terminal_raw(service: Service) -> None:
    service.fail(404, body=problem(404, "not_found") | {"detail": ALL})

    shown = on_a_terminal(service.url, "status", "b0-0")

    assert "owned" in shown
    assert_harmless(shown)


def test_no_file_name_or_column_reaches_a_terminal_raw(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b]0;owned\x07[b].csv"
    path.write_text("x\x1b[2J,x\x1b[2J\n1,2\n")

    shown = on_a_terminal(service.url, "run", path, "--check")

    assert "owned" in shown
    assert "names a column twice" in shown
    assert_harmless(shown)


@pytest.mark.parametrize("where", ["pipe", "file", "terminal with --raw"])
def test_files_and_pipes_have_the_answer_unchanged_and_a_terminal_on_request(
    service: Service, source: Path, tmp_path: Path, where: str
) -> None:
    service.outcomes["a"]["result"] = "\x1b[2Jhello"
    if where == "pipe":
        written = sluice(service.url, "run", source, "--shape", "text").stdout
    elif where == "file":
        sluice(service.url, "run", source, "-o", tmp_path / "out.txt")
        written = (tmp_path / "out.txt").read_text()
    else:
        written = on_a_terminal(service.url, "run", source, "--shape", "text", "-q", "--raw")

    assert "\x1b[2Jhello" in written


@pytest.mark.parametrize(("options", "result"), [((), "'=1+1"), (("--raw",), "=1+1")], ids=["default", "raw"])
def test_csv_results_have_no_formulas_but_on_request(
    service: Service, source: Path, tmp_path: Path, options: tuple[str, ...], result: str
) -> None:
    service.outcomes["a"] = {"status": "completed", "result": "=1+1"}
    output = tmp_path / "out.csv"

    sluice(service.url, "run", source, "-o", output, *options)

    with output.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["result"] == result


def test_a_results_file_and_its_journal_are_readable_by_their_owner_only(
    service: Service, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    previous = os.umask(0)
    try:
        sluice(service.url, "run", source, "-o", output)
    finally:
        os.umask(previous)

    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(tmp_path.glob("out*"))] == [0o600, 0o600]
